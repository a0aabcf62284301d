//! Limits how often a password may be tried. Sans-IO: the time is an argument.
//!
//! A token bucket for each client address (an IPv6 client is its /64) and one for all together, so that neither
//! one machine nor many can try fast. A full table forgets the address that has waited longest, which gives a
//! botnet nothing: the common bucket still holds.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use synoptic_base::{Mono, Span};

/// Tries an address has at once.
const ADDRESS_BURST: f64 = 5.0;
/// Time for an address to earn one more try.
const ADDRESS_REFILL: Span = Span::from_secs(20);
/// Tries all addresses together have at once.
const COMMON_BURST: f64 = 30.0;
/// Time to earn one more common try.
const COMMON_REFILL: Span = Span::from_secs(2);
/// Addresses remembered.
const MAX_ADDRESSES: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Mono,
}

impl Bucket {
    fn full(burst: f64, at: Mono) -> Bucket {
        Bucket { tokens: burst, at }
    }
    fn fill(&mut self, now: Mono, burst: f64, refill: Span) {
        let earned = (now - self.at).as_secs_f64().max(0.0) / refill.as_secs_f64();
        self.tokens = (self.tokens + earned).min(burst);
        self.at = now;
    }
    /// Seconds until a token is there; `None` when one is.
    fn wait(&self, refill: Span) -> Option<u64> {
        (self.tokens < 1.0).then(|| ((1.0 - self.tokens) * refill.as_secs_f64()).ceil().max(1.0) as u64)
    }
}

/// The limiter.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    addresses: HashMap<IpAddr, Bucket>,
    common: Option<Bucket>,
}

impl Limiter {
    /// Takes a try of `address`; the seconds to wait when it has none left.
    pub(super) fn take(&mut self, now: Mono, address: IpAddr) -> Result<(), u64> {
        let address = network(address);
        if self.addresses.len() >= MAX_ADDRESSES && !self.addresses.contains_key(&address) {
            let oldest = self.addresses.iter().min_by_key(|(_, b)| b.at).map(|(a, _)| *a);
            oldest.map(|a| self.addresses.remove(&a));
        }
        let own = self
            .addresses
            .entry(address)
            .or_insert(Bucket::full(ADDRESS_BURST, now));
        own.fill(now, ADDRESS_BURST, ADDRESS_REFILL);
        if let Some(wait) = own.wait(ADDRESS_REFILL) {
            return Err(wait);
        }
        let common = self.common.get_or_insert(Bucket::full(COMMON_BURST, now));
        common.fill(now, COMMON_BURST, COMMON_REFILL);
        if let Some(wait) = common.wait(COMMON_REFILL) {
            return Err(wait);
        }
        own.tokens -= 1.0;
        common.tokens -= 1.0;
        Ok(())
    }

    /// Gives an address its tries back after the right password.
    pub(super) fn succeed(&mut self, address: IpAddr) {
        self.addresses.remove(&network(address));
    }
}

/// The part of an address that one subscriber holds.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (!0 << 64))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Mono {
        Mono::from_nanos(0) + Span::from_secs(s)
    }

    #[test]
    fn five_tries_then_one_every_twenty_seconds() {
        let mut limiter = Limiter::default();
        let a: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..5 {
            assert_eq!(limiter.take(at(0), a), Ok(()));
        }
        assert_eq!(limiter.take(at(0), a), Err(20));
        assert_eq!(limiter.take(at(15), a), Err(5));
        assert_eq!(limiter.take(at(20), a), Ok(()));
        assert_eq!(limiter.take(at(20), "::ffff:192.0.2.1".parse().unwrap()), Err(20));
        limiter.succeed(a);
        assert_eq!(limiter.take(at(20), a), Ok(()));
    }

    #[test]
    fn neighbours_share_a_bucket_and_all_share_one() {
        let mut limiter = Limiter::default();
        for host in 0..5u8 {
            let a = format!("2001:db8::{host}").parse().unwrap();
            assert_eq!(limiter.take(at(0), a), Ok(()));
        }
        assert!(limiter.take(at(0), "2001:db8::ffff:1".parse().unwrap()).is_err());
        let mut passed = 0;
        for host in 0..100u8 {
            passed += usize::from(limiter.take(at(0), IpAddr::from([10, 0, 0, host])).is_ok());
        }
        assert_eq!(passed, 25);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut limiter = Limiter::default();
        for n in 0..5000u32 {
            let _ = limiter.take(at(i64::from(n)), IpAddr::from(n.to_be_bytes()));
        }
        assert_eq!(limiter.addresses.len(), MAX_ADDRESSES);
    }
}
