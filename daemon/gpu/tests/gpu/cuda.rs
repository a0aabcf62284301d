//! The driver's wrappers: order, lifetimes, errors.

use std::path::{Path, PathBuf};

use libloading::os::unix::Library;
use synoptic_base::Size;
use synoptic_gpu::cuda::{Buffer, Cuda, Event, Gpu, Staging, Stream};
use synoptic_gpu::picture::{DevicePicture, DevicePlane, Layout, PictureMemory};
use synoptic_gpu::preprocess::{Fit, Input, preprocess};
use synoptic_gpu::{GpuError, Kernels};
use tempfile::TempDir;

/// A stand-in of its own: libraries from different files share no state.
pub(crate) struct Emulated {
    _folder: TempDir,
    pub(crate) path: PathBuf,
    control: Library,
}

impl Emulated {
    pub(crate) fn new() -> Option<Emulated> {
        let folder = tempfile::tempdir().unwrap();
        let path = super::emulate::build("libcuda.cpp", &[], folder.path())?;
        Some(Emulated {
            control: open(&path),
            _folder: folder,
            path,
        })
    }

    pub(crate) fn gpu(&self) -> Gpu {
        Cuda::load_file(&self.path).unwrap().open(0).unwrap()
    }

    #[allow(unsafe_code)]
    fn fail(&self, call: &str, code: i32) {
        let call = std::ffi::CString::new(call).unwrap();
        // SAFETY: as libcuda.cpp declares it.
        unsafe {
            let fail = self
                .control
                .get::<unsafe extern "C" fn(*const std::ffi::c_char, i32)>(b"emulated_fail\0")
                .unwrap();
            fail(call.as_ptr(), code);
        }
    }

    #[allow(unsafe_code)]
    fn alive(&self) -> usize {
        // SAFETY: as libcuda.cpp declares it.
        unsafe {
            let alive = self
                .control
                .get::<unsafe extern "C" fn() -> usize>(b"emulated_alive\0")
                .unwrap();
            alive()
        }
    }
}

#[allow(unsafe_code)]
pub(crate) fn open(path: &Path) -> Library {
    // SAFETY: a library of this crate's tests.
    unsafe { Library::new(path).unwrap() }
}

#[test]
fn a_library_that_is_not_there_or_is_another_is_said() {
    let error = Cuda::load_file(Path::new("/nowhere/libcuda.so.1")).err().unwrap();
    assert!(matches!(&error, GpuError::Missing { .. }), "{error}");
    assert!(error.to_string().contains("/nowhere/libcuda.so.1"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    if let Some(other) = super::emulate::build("nvinfer.cpp", &["-DVERSION=10"], folder.path()) {
        let error = Cuda::load_file(&other).err().unwrap().to_string();
        assert!(error.contains("has no cuInit"), "{error}");
    }
}

#[test]
fn everything_lent_is_given_back_and_bytes_survive_the_way() {
    let Some(emulated) = Emulated::new() else { return };
    let gpu = emulated.gpu();
    assert_eq!(gpu.info().target(), "sm_87");
    let begin = emulated.alive();
    {
        let stream = Stream::new(&gpu).unwrap();
        let (a, b) = (Buffer::new(&gpu, 1000).unwrap(), Buffer::new(&gpu, 1000).unwrap());
        let bytes: Vec<u8> = (0..1000).map(|i| i as u8).collect();
        let (from, to) = (Event::new(&gpu).unwrap(), Event::new(&gpu).unwrap());
        from.record(&stream).unwrap();
        stream.upload(a.slice(), &bytes).unwrap();
        stream.copy(b.slice(), a.slice()).unwrap();
        let mut back = vec![0; 1000];
        stream.download(&mut back, b.slice()).unwrap();
        to.record(&stream).unwrap();
        assert_eq!(back, bytes);
        assert!(to.ms_since(&from).unwrap() >= 0.0 && stream.is_done().unwrap());
        // Beyond the end is refused here, not by the driver.
        assert!(matches!(
            stream.upload(a.slice(), &[0; 1001]),
            Err(GpuError::Argument(_))
        ));
        assert!(a.slice().part(10..1001).is_err());
        let mut staging = Staging::new(&gpu, 64).unwrap();
        for round in 0..3_u8 {
            staging.send(&stream, |host| host.fill(round)).unwrap();
            let mut back = [9; 64];
            stream.download(&mut back, staging.device().slice()).unwrap();
            assert_eq!(back, [round; 64]);
        }
        let kernels = Kernels::from_images(&gpu, |_| Ok(b"emulated".to_vec())).unwrap();
        drop(stream);
        drop(kernels);
    }
    assert_eq!(emulated.alive(), begin);
    // A buffer outlives the handle of its GPU.
    let buffer = Buffer::new(&gpu, 10).unwrap();
    drop(gpu);
    drop(buffer);
}

#[test]
fn what_fails_names_the_call_and_the_mend_and_leaves_nothing_behind() {
    let Some(emulated) = Emulated::new() else { return };
    emulated.fail("cuInit", 100);
    let error = Cuda::load_file(&emulated.path).err().unwrap().to_string();
    assert!(
        error.contains("cuInit") && error.contains("no NVIDIA GPU"),
        "{error}"
    );
    let gpu = emulated.gpu();
    assert!(gpu.cuda().open(7).is_err());
    let begin = emulated.alive();
    emulated.fail("cuMemAlloc_v2", 2);
    let error = Buffer::new(&gpu, 100).err().unwrap().to_string();
    assert!(
        error.contains("CUDA_ERROR_OUT_OF_MEMORY") && error.contains("smaller"),
        "{error}"
    );
    // The pinned half fails: the device's half goes too.
    emulated.fail("cuMemAllocHost_v2", 2);
    assert!(Staging::new(&gpu, 100).is_err());
    let huge = Buffer::new(&gpu, 1 << 40).err().unwrap();
    assert!(matches!(huge, GpuError::Cuda { code: 2, .. }), "{huge}");
    let refused = Kernels::from_images(&gpu, |_| Ok(b"no image".to_vec()))
        .err()
        .unwrap();
    assert!(
        refused.to_string().contains("CUDA_ERROR_INVALID_IMAGE"),
        "{refused}"
    );
    emulated.fail("cuModuleGetFunction", 500);
    assert!(Kernels::from_images(&gpu, |_| Ok(b"emulated".to_vec())).is_err());
    assert_eq!(emulated.alive(), begin);
}

#[test]
fn pictures_and_fits_that_would_run_over_their_end_are_refused() {
    let Some(emulated) = Emulated::new() else { return };
    let gpu = emulated.gpu();
    let stream = Stream::new(&gpu).unwrap();
    let kernels = Kernels::from_images(&gpu, |_| Ok(b"emulated".to_vec())).unwrap();
    let size = Size::new(64, 32);
    let memory = Buffer::new(&gpu, 64 * 32 + 64 * 16).unwrap();
    let all = memory.slice();
    let plane = |from: usize, stride| DevicePlane {
        data: all.part(from..memory.len()).unwrap(),
        stride,
    };
    assert!(DevicePicture::new(size, Layout::Nv12, &[plane(0, 64), plane(64 * 32, 64)]).is_ok());
    for planes in [
        vec![plane(0, 64)],
        vec![plane(0, 63), plane(64 * 32, 64)],
        vec![plane(0, 64), plane(64 * 32 + 1, 64)],
        vec![plane(0, 64), plane(64 * 32, 66)],
    ] {
        assert!(DevicePicture::new(size, Layout::Nv12, &planes).is_err());
    }
    let picture = PictureMemory::new(&gpu, size, Layout::Nv12).unwrap();
    let input = Input {
        width: 48,
        height: 48,
        blue_first: true,
        pad: 0,
        scale: 1.0,
        mean: [0.0; 3],
        std: [1.0; 3],
    };
    let tensor = Buffer::new(&gpu, input.bytes(1)).unwrap();
    let fit = |left, width| Fit {
        left,
        top: 0,
        width,
        height: 24,
    };
    let run = |fits: &[Fit]| {
        let pictures: Vec<_> = fits.iter().map(|f| (picture.picture().unwrap(), *f)).collect();
        preprocess(&kernels, &stream, &pictures, &input, tensor.slice())
    };
    run(&[fit(0, 48)]).unwrap();
    assert!(run(&[fit(1, 48)]).is_err() && run(&[fit(0, 0)]).is_err() && run(&[fit(u32::MAX, 2)]).is_err());
    // Two pictures for the tensor of one.
    assert!(run(&[fit(0, 48), fit(0, 48)]).is_err());
}
