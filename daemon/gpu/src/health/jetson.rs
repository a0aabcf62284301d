//! A Jetson's GPU by the kernel's files. The same facts lie in different places from one JetPack to the next, so they are
//! looked for by what they are called, once, and read by their paths from then on.
//!
//! | fact | where (JetPack 5 and 6, L4T 35 and 36) |
//! |---|---|
//! | temperature | `class/thermal/thermal_zone*/` whose `type` is `gpu-thermal` or `GPU-therm`: `temp`, thousandths of a degree |
//! | load | `devices/platform/**/load` of the GPU (`gpu.0`, `17000000.gpu`): thousandths |
//! | clock | `class/devfreq/*gpu*` (`17000000.gpu`, `17000000.ga10b`): `cur_freq`, `max_freq`, Hz |
//! | power | `class/hwmon/*/` whose `name` is `ina3221`: rail `VDD_IN` (or `VIN_SYS_5V0`, `POM_5V_IN`), mV times mA |
//! | throttling | `class/thermal/cooling_device*/` whose `type` ends in `-throttle-alert`: `cur_state` above 0 |

use std::path::{Path, PathBuf};

use super::GpuHealth;

/// Where the GPU's `load` may be, below `sys/devices`.
const LOADS: [&str; 4] = [
    "platform/bus@0/17000000.gpu/load",
    "platform/17000000.gpu/load",
    "platform/gpu.0/load",
    "gpu.0/load",
];
/// Labels of the rail that feeds the module.
const RAILS: [&str; 3] = ["VDD_IN", "VIN_SYS_5V0", "POM_5V_IN"];
/// Rails of one measuring chip (ina3221 has three channels).
const CHANNELS: [u32; 3] = [1, 2, 3];

/// The files of one Jetson.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jetson {
    name: String,
    temperature: Option<PathBuf>,
    load: Option<PathBuf>,
    clock: Option<PathBuf>,
    /// Folder and channel.
    power: Option<(PathBuf, u32)>,
    /// Names and folders.
    alerts: Vec<(String, PathBuf)>,
}

impl Jetson {
    /// The Jetson below `root`; `None` on any other machine.
    pub fn find(root: &Path) -> Option<Jetson> {
        let compatible = std::fs::read(root.join("proc/device-tree/compatible")).ok()?;
        let compatible = String::from_utf8_lossy(&compatible).into_owned();
        if !compatible.split('\0').any(|c| c.starts_with("nvidia,tegra")) {
            return None;
        }
        let model = text(&root.join("proc/device-tree/model")).unwrap_or_else(|| "Jetson".to_owned());
        let sys = root.join("sys");
        let zones = folders(&sys.join("class/thermal"), "thermal_zone");
        let kind = |folder: &PathBuf| text(&folder.join("type")).unwrap_or_default();
        let hwmon = folders(&sys.join("class/hwmon"), "");
        let rails = hwmon
            .iter()
            .flat_map(|folder| CHANNELS.map(|n| (folder.clone(), n)));
        Some(Jetson {
            name: model,
            temperature: zones
                .iter()
                .find(|z| kind(z).to_ascii_lowercase().starts_with("gpu"))
                .map(|z| z.join("temp")),
            load: LOADS
                .iter()
                .map(|l| sys.join("devices").join(l))
                .find(|p| p.exists()),
            clock: folders(&sys.join("class/devfreq"), "")
                .into_iter()
                .find(|folder| {
                    let name = folder
                        .file_name()
                        .unwrap_or_default()
                        .to_string_lossy()
                        .into_owned();
                    // ga10b, gv11b and gp10b are the GPUs of Orin, Xavier and TX2.
                    [".gpu", "ga10b", "gv11b", "gp10b"]
                        .iter()
                        .any(|part| name.contains(part))
                }),
            power: rails.into_iter().find(|(folder, n)| {
                let label = text(&folder.join(format!("in{n}_label")));
                text(&folder.join("name")).is_some_and(|name| name == "ina3221")
                    && label.is_some_and(|l| RAILS.contains(&l.as_str()))
            }),
            alerts: folders(&sys.join("class/thermal"), "cooling_device")
                .into_iter()
                .map(|folder| (kind(&folder), folder))
                .filter(|(kind, _)| kind.ends_with("-throttle-alert"))
                .collect(),
        })
    }

    /// How it is now.
    pub fn read(&self) -> GpuHealth {
        let scaled = |path: &PathBuf, by: f64| number(path).map(|n| n * by);
        let power = self.power.as_ref().and_then(|(folder, n)| {
            let mv = number(&folder.join(format!("in{n}_input")))?;
            let ma = number(&folder.join(format!("curr{n}_input")))?;
            Some(mv * ma / 1e6)
        });
        let alerts: Vec<&str> = self
            .alerts
            .iter()
            .filter(|(_, folder)| number(&folder.join("cur_state")).is_some_and(|state| state > 0.0))
            .map(|(kind, _)| kind.trim_end_matches("-throttle-alert"))
            .collect();
        let throttled = (!alerts.is_empty()).then(|| {
            format!(
                "the board is too hot and slows down {}: give it air, or a lower power mode (nvpmodel)",
                alerts.join(", ")
            )
        });
        let clock = |file: &str| self.clock.as_ref().and_then(|c| scaled(&c.join(file), 1e-6));
        GpuHealth {
            index: 0,
            name: self.name.clone(),
            source: "sysfs",
            temperature_c: self.temperature.as_ref().and_then(|p| scaled(p, 1e-3)),
            power_w: power,
            load: self.load.as_ref().and_then(|p| scaled(p, 1e-3)),
            clock_mhz: clock("cur_freq"),
            clock_max_mhz: clock("max_freq"),
            // The GPU has no memory of its own.
            memory_used: None,
            memory: None,
            throttled,
        }
    }
}

/// Folders below `of` whose names begin with `prefix`, by name.
fn folders(of: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(of).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|e| e.file_name().to_string_lossy().starts_with(prefix))
        .map(|e| e.path())
        .collect();
    found.sort();
    found
}

fn text(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim_end_matches(['\0', '\n']).to_owned())
}

/// A zone that is switched off, or a rail without power, gives an error: nothing is known then.
fn number(path: &Path) -> Option<f64> {
    text(path)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree as on an Orin Nano with JetPack 6.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    const ORIN: [(&str, &str); 17] = [
        (
            "proc/device-tree/compatible",
            "nvidia,p3768-0000+p3767-0005\0nvidia,tegra234\0",
        ),
        (
            "proc/device-tree/model",
            "NVIDIA Jetson Orin Nano Developer Kit\0",
        ),
        ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
        ("sys/class/thermal/thermal_zone0/temp", "48000\n"),
        ("sys/class/thermal/thermal_zone1/type", "gpu-thermal\n"),
        ("sys/class/thermal/thermal_zone1/temp", "51250\n"),
        ("sys/class/thermal/cooling_device0/type", "pwm-fan\n"),
        ("sys/class/thermal/cooling_device0/cur_state", "2\n"),
        ("sys/class/thermal/cooling_device1/type", "gpu-throttle-alert\n"),
        ("sys/class/thermal/cooling_device1/cur_state", "0\n"),
        ("sys/devices/platform/bus@0/17000000.gpu/load", "437\n"),
        ("sys/class/devfreq/17000000.gpu/cur_freq", "612000000\n"),
        ("sys/class/devfreq/17000000.gpu/max_freq", "624750000\n"),
        ("sys/class/hwmon/hwmon1/name", "ina3221\n"),
        ("sys/class/hwmon/hwmon1/in1_label", "VDD_IN\n"),
        ("sys/class/hwmon/hwmon1/in1_input", "5000\n"),
        ("sys/class/hwmon/hwmon1/curr1_input", "1840\n"),
    ];

    #[test]
    fn an_orins_files_are_found_and_read() {
        let root = tree(&ORIN);
        let jetson = Jetson::find(root.path()).unwrap();
        let wanted = GpuHealth {
            index: 0,
            name: "NVIDIA Jetson Orin Nano Developer Kit".to_owned(),
            source: "sysfs",
            temperature_c: Some(51.25),
            power_w: Some(9.2),
            load: Some(0.437),
            clock_mhz: Some(612.0),
            clock_max_mhz: Some(624.75),
            memory_used: None,
            memory: None,
            throttled: None,
        };
        assert_eq!(jetson.read(), wanted);
        let alert = root.path().join("sys/class/thermal/cooling_device1/cur_state");
        std::fs::write(alert, "1\n").unwrap();
        let throttled = jetson.read().throttled.unwrap();
        assert!(
            throttled.contains("slows down gpu") && throttled.contains("nvpmodel"),
            "{throttled}"
        );
        // A zone that is asleep.
        std::fs::remove_file(root.path().join("sys/class/thermal/thermal_zone1/temp")).unwrap();
        assert_eq!(jetson.read().temperature_c, None);
    }

    #[test]
    fn another_machine_is_none_and_a_jetson_of_few_files_is_one() {
        assert_eq!(Jetson::find(tree(&[("sys/x", "")]).path()), None);
        let other = tree(&[(
            "proc/device-tree/compatible",
            "raspberrypi,5-model-b\0brcm,bcm2712\0",
        )]);
        assert_eq!(Jetson::find(other.path()), None);
        let bare = tree(&[("proc/device-tree/compatible", "nvidia,tegra194\0")]);
        let health = Jetson::find(bare.path()).unwrap().read();
        assert_eq!(
            (health.temperature_c, health.power_w, health.throttled),
            (None, None, None)
        );
    }
}
