//! Which TensorRT a library is, and whether its interface is known.

use std::path::Path;

use super::slots::Table;
use crate::GpuError;

/// A TensorRT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Whether it is TensorRT-RTX, which counts by itself.
    pub rtx: bool,
    /// Major, minor, patch.
    pub number: (u32, u32, u32),
}

/// Versions whose headers were compared with the tables (`abi/README.md`): the minors of each major. RTX 1.3 and 1.4 have
/// other tables; of 11.2 and 11.3 no headers are public.
const KNOWN: [(bool, u32, &[u32], Table); 4] = [
    (false, 8, &[5, 6], Table::V8),
    (
        false,
        10,
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
        Table::V10,
    ),
    (false, 11, &[0, 1, 4], Table::V11),
    (true, 1, &[5, 6, 7], Table::Rtx),
];

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (major, minor, patch) = self.number;
        let name = if self.rtx { "TensorRT-RTX" } else { "TensorRT" };
        write!(f, "{name} {major}.{minor}.{patch}")
    }
}

impl Version {
    /// From the library's file name and what `getInferLibVersion` says. The number alone does not tell: RTX 1.7.1 says
    /// 10701, which would be TensorRT 1.7.1 or 10.7.
    pub(crate) fn new(library: &Path, says: i32) -> Version {
        let name = library
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        let rtx = name.contains("tensorrt_rtx");
        let v = says.unsigned_abs();
        // Up to 8 it was major * 1000 + minor * 100 + patch.
        let thousands = !rtx && v < 10_000;
        let number = if thousands {
            (v / 1000, v % 1000 / 100, v % 100)
        } else {
            (v / 10_000, v % 10_000 / 100, v % 100)
        };
        Version { rtx, number }
    }

    /// The table of a version that is known.
    pub(crate) fn table(&self, library: &Path) -> Result<Table, GpuError> {
        let (major, minor, _) = self.number;
        let known = KNOWN
            .iter()
            .find(|(rtx, of, minors, _)| *rtx == self.rtx && *of == major && minors.contains(&minor));
        known.map(|k| k.3).ok_or_else(|| GpuError::Version {
            library: library.to_owned(),
            version: self.to_string(),
            why: "its interface was not compared with the headers of that version; known are TensorRT 8.5, 8.6, 10.0 \
                  to 10.16, 11.0, 11.1, 11.4 and TensorRT-RTX 1.5 to 1.7. A wrong guess would crash: `make gpu-abi \
                  HEADERS=...` compares, daemon/gpu/src/trt/version.rs lists what was compared"
                .to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_means_another_version_by_the_librarys_name() {
        let version = |name: &str, says| Version::new(Path::new(name), says);
        let shown = |name, says| version(name, says).to_string();
        assert_eq!(shown("/usr/lib/libnvinfer.so.8", 8502), "TensorRT 8.5.2");
        assert_eq!(shown("libnvinfer.so.8", 8601), "TensorRT 8.6.1");
        assert_eq!(shown("libnvinfer.so.10", 100_300), "TensorRT 10.3.0");
        assert_eq!(shown("libnvinfer_lean.so.11", 110_400), "TensorRT 11.4.0");
        assert_eq!(shown("libtensorrt_rtx.so.1.7.1", 10_701), "TensorRT-RTX 1.7.1");
    }

    #[test]
    fn versions_that_were_not_compared_are_refused_by_name() {
        let table = |name: &str, says| {
            let path = Path::new(name);
            Version::new(path, says).table(path)
        };
        assert_eq!(table("libnvinfer.so.8", 8502), Ok(Table::V8));
        assert_eq!(table("libnvinfer.so.10", 100_300), Ok(Table::V10));
        assert_eq!(table("libnvinfer.so.11", 110_100), Ok(Table::V11));
        assert_eq!(table("libtensorrt_rtx.so.1.7.1", 10_701), Ok(Table::Rtx));
        // Before enqueueV3; a major never seen; one minor further; RTX's number under TensorRT's name.
        for (name, says) in [
            ("libnvinfer.so.8", 8401),
            ("libnvinfer.so.9", 90_200),
            ("libnvinfer.so.12", 120_000),
            ("libnvinfer.so.10", 101_700),
            ("libtensorrt_rtx.so.2", 20_000),
            ("libnvinfer.so.1", 10_701),
            ("libtensorrt_rtx.so.1", 10_400),
            ("libnvinfer.so.11", 110_300),
        ] {
            let error = table(name, says);
            // 10701 under TensorRT's own name is read as 1.7.1, which never was.
            let text = error.unwrap_err().to_string();
            assert!(text.contains(name) && text.contains("known are"), "{text}");
        }
    }
}
