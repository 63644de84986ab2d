//! Temperature, and whether a Raspberry Pi gets enough power, from `/sys`.

use std::path::{Path, PathBuf};

/// No sensor of a machine that runs says less or more than this, in degrees Celsius.
const SANE: std::ops::RangeInclusive<f64> = -40.0..=150.0;
/// More sensors than any machine has.
const SENSORS_MAX: usize = 256;
/// Bits of `get_throttled`: what is true now. (From bit 16 on: what was since the start.)
const UNDER_VOLTAGE: u32 = 1;
const SLOWED: u32 = 1 << 1 | 1 << 2 | 1 << 3;

/// What a Pi says of its power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Power {
    /// It gets too little power now.
    pub under_voltage: bool,
    /// It runs slower now, because of too little power or too much heat; `None` where only the sensor tells.
    pub slowed: Option<bool>,
}

/// The hottest of `/sys/class/thermal`.
pub fn temperature(root: &Path) -> Option<f64> {
    let zones = below(&root.join("sys/class/thermal")).filter(|(name, _)| name.starts_with("thermal_zone"));
    let celsius = zones.filter_map(|(_, zone)| {
        let millidegrees: f64 = std::fs::read_to_string(zone.join("temp")).ok()?.trim().parse().ok()?;
        Some(millidegrees / 1000.0).filter(|celsius| SANE.contains(celsius))
    });
    celsius.reduce(f64::max)
}

/// What the firmware of a Pi says, or else the sensor `rpi_volt`; `None` on other machines.
pub fn power(root: &Path) -> Option<Power> {
    if let Some(bits) = throttled(root) {
        return Some(Power { under_voltage: bits & UNDER_VOLTAGE != 0, slowed: Some(bits & SLOWED != 0) });
    }
    below(&root.join("sys/class/hwmon")).find_map(|(_, sensor)| {
        let read = |name: &str| std::fs::read_to_string(sensor.join(name)).ok();
        let alarm =
            read("name").filter(|name| name.trim() == "rpi_volt").and_then(|_| read("in0_lcrit_alarm"))?;
        Some(Power { under_voltage: alarm.trim() == "1", slowed: None })
    })
}

/// Hexadecimal, with or without `0x`; below the chip, whose address is in its name on newer models.
fn throttled(root: &Path) -> Option<u32> {
    let chips = below(&root.join("sys/devices/platform")).filter(|(name, _)| name.starts_with("soc"));
    let mut parts = chips.flat_map(|(_, chip)| below(&chip)).filter(|(name, _)| name.ends_with("firmware"));
    parts.find_map(|(_, part)| {
        let text = std::fs::read_to_string(part.join("get_throttled")).ok()?;
        let text = text.trim();
        u32::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
    })
}

/// What is in a folder, by name; nothing when it is not there.
fn below(folder: &Path) -> impl Iterator<Item = (String, PathBuf)> + use<> {
    let found = std::fs::read_dir(folder).into_iter().flatten().take(SENSORS_MAX).filter_map(Result::ok);
    found.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_hottest_sensor_counts_and_nonsense_does_not() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(temperature(root.path()), None);
        put(root.path(), "sys/class/thermal/thermal_zone0/temp", "48312\n");
        put(root.path(), "sys/class/thermal/thermal_zone1/temp", "71500\n");
        put(root.path(), "sys/class/thermal/thermal_zone2/temp", "999999999\n");
        put(root.path(), "sys/class/thermal/cooling_device0/temp", "90000\n");
        assert_eq!(temperature(root.path()), Some(71.5));
    }

    #[test]
    fn the_firmware_of_a_pi_tells_what_is_now_not_what_was() {
        // The other one is that of a Pi 5.
        for place in ["soc/soc:firmware", "soc@107c000000/soc@107c000000:firmware"] {
            let root = tempfile::tempdir().unwrap();
            assert_eq!(power(root.path()), None);
            for (text, under_voltage, slowed) in [
                ("0\n", false, false),
                ("50005\n", true, true),
                ("0x50000", false, false),
                ("8", false, true),
            ] {
                put(root.path(), &format!("sys/devices/platform/{place}/get_throttled"), text);
                let slowed = Some(slowed);
                assert_eq!(power(root.path()), Some(Power { under_voltage, slowed }), "{place}: {text}");
            }
        }
    }

    #[test]
    fn without_the_firmwares_file_the_sensor_tells() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "sys/class/hwmon/hwmon0/name", "cpu_thermal\n");
        put(root.path(), "sys/class/hwmon/hwmon2/name", "rpi_volt\n");
        put(root.path(), "sys/class/hwmon/hwmon2/in0_lcrit_alarm", "1\n");
        assert_eq!(power(root.path()), Some(Power { under_voltage: true, slowed: None }));
    }
}
