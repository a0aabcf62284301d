//! `synoptic devices`

use std::process::ExitCode;

use anyhow::Result;

pub(super) fn run() -> Result<ExitCode> {
    let devices = synoptic_media::devices::list();
    if devices.is_empty() {
        println!("No video device on this box (no /dev/video*).");
    }
    for device in devices {
        println!(
            "{}  {} ({}, {})",
            device.path.display(),
            device.name,
            device.driver,
            device.bus
        );
        for format in device.formats {
            println!("    {format}");
        }
    }
    Ok(ExitCode::SUCCESS)
}
