//! What has come from a camera, in numbers.

use synoptic_base::Span;

/// Counters of one stream of a camera since it was started, over all its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamStats {
    /// Connections that gave a picture.
    pub connections: u64,
    /// Frames decoded.
    pub decoded: u64,
    /// Frames that came and could not be decoded.
    pub unreadable: u64,
    /// What the network did.
    pub transport: TransportStats,
}

/// Counters of RTP; all zero for files and devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransportStats {
    /// RTP packets that came, repeated ones included.
    pub packets: u64,
    /// Their bytes, with the RTP headers.
    pub bytes: u64,
    /// Packets that were sent, by the gaps in their sequence numbers, and did not come in time.
    pub lost: u64,
    /// Packets that came after they had been given up.
    pub late: u64,
    /// Mean deviation of the packets' spacing from that of their RTP times, at the last look. `None` without RTP.
    pub jitter: Option<Span>,
}

impl StreamStats {
    /// These, and those of a connection since its begin.
    pub(crate) fn with(self, now: TransportStats) -> StreamStats {
        let before = self.transport;
        StreamStats {
            transport: TransportStats {
                packets: before.packets + now.packets,
                bytes: before.bytes + now.bytes,
                lost: before.lost + now.lost,
                late: before.late + now.late,
                jitter: now.jitter,
            },
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_over_connections_and_jitter_is_the_last() {
        let of = |packets, jitter| TransportStats {
            packets,
            bytes: packets * 1_000,
            lost: 1,
            late: 2,
            jitter,
        };
        let first = StreamStats::default().with(of(10, Some(Span::from_millis(3))));
        let both = first.with(of(5, None));
        assert_eq!((both.transport.packets, both.transport.bytes), (15, 15_000));
        assert_eq!((both.transport.lost, both.transport.late), (2, 4));
        assert_eq!(both.transport.jitter, None);
    }
}
