//! `synoptic devices`

use std::process::ExitCode;

use anyhow::Result;

pub(super) fn run() -> Result<ExitCode> {
    let devices = synoptic_media::devices::list();
    if devices.is_empty() {
        println!("No video device on this box (no /dev/video*).");
    }
    for device in devices {
        // Virtual ones have neither.
        let known: Vec<&str> = [&*device.driver, &*device.bus]
            .into_iter()
            .filter(|word| !word.is_empty())
            .collect();
        let behind = if known.is_empty() {
            String::new()
        } else {
            format!(" ({})", known.join(", "))
        };
        println!("{}  {}{behind}", device.path.display(), device.name);
        for format in device.formats {
            println!("    {format}");
        }
    }
    Ok(ExitCode::SUCCESS)
}
