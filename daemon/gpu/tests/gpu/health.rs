//! NVML's wrapper on a stand-in.

use synoptic_gpu::health::nvml::Nvml;

use super::cuda::open;

#[test]
fn what_gpus_tell_is_read_and_what_they_do_not_is_left_open() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = super::emulate::build("nvml.cpp", &[], folder.path()) else {
        return;
    };
    let nvml = Nvml::load_file(&library).unwrap();
    let all = nvml.read();
    let [full, poor] = &all[..] else { panic!("{all:?}") };
    assert_eq!(
        (full.name.as_str(), full.source, full.index),
        ("fake GPU 0", "nvml", 0)
    );
    assert_eq!(
        (full.temperature_c, full.power_w, full.load),
        (Some(83.0), Some(69.5), Some(0.57))
    );
    assert_eq!((full.clock_mhz, full.clock_max_mhz), (Some(1410.0), Some(1980.0)));
    assert_eq!((full.memory_used, full.memory), (Some(6000), Some(8000)));
    assert!(full.throttled.as_ref().is_some_and(|t| t.contains("too hot")));
    assert_eq!((poor.name.as_str(), poor.index), ("fake GPU 1", 1));
    assert_eq!(
        (poor.temperature_c, poor.memory, &poor.throttled),
        (None, None, &None)
    );
    drop(nvml);
    assert_eq!(started(&library), 0);
}

#[test]
fn a_library_without_a_driver_says_so_and_is_not_shut_down() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = super::emulate::build("nvml.cpp", &["-DFAILS"], folder.path()) else {
        return;
    };
    let error = Nvml::load_file(&library).err().unwrap().to_string();
    assert!(
        error.contains("nvmlInit says 9") && error.contains("driver"),
        "{error}"
    );
    assert_eq!(started(&library), 0);
}

#[allow(unsafe_code)]
fn started(library: &std::path::Path) -> i32 {
    let library = open(library);
    // SAFETY: as nvml.cpp declares it.
    unsafe {
        library
            .get::<unsafe extern "C" fn() -> i32>(b"fake_started\0")
            .unwrap()()
    }
}
