//! Temperature, and whether a Raspberry Pi gets enough power, from `/sys`.

use std::path::Path;

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
    /// It runs slower now, because of too little power or too much heat.
    pub slowed: bool,
}

/// The hottest of `/sys/class/thermal`.
pub fn temperature(root: &Path) -> Option<f64> {
    let zones = std::fs::read_dir(root.join("sys/class/thermal")).ok()?;
    zones
        .take(SENSORS_MAX)
        .filter_map(|zone| {
            let zone =
                zone.ok().filter(|zone| zone.file_name().to_string_lossy().starts_with("thermal_zone"))?;
            let millidegrees: f64 =
                std::fs::read_to_string(zone.path().join("temp")).ok()?.trim().parse().ok()?;
            Some(millidegrees / 1000.0).filter(|celsius| SANE.contains(celsius))
        })
        .reduce(f64::max)
}

/// What the firmware of a Pi says, or else the sensor `rpi_volt`; `None` on other machines.
pub fn power(root: &Path) -> Option<Power> {
    let firmware = root.join("sys/devices/platform/soc/soc:firmware/get_throttled");
    if let Some(bits) = std::fs::read_to_string(firmware).ok().and_then(|text| throttled(&text)) {
        return Some(Power { under_voltage: bits & UNDER_VOLTAGE != 0, slowed: bits & SLOWED != 0 });
    }
    let sensors = std::fs::read_dir(root.join("sys/class/hwmon")).ok()?;
    sensors.take(SENSORS_MAX).filter_map(Result::ok).find_map(|sensor| {
        let read = |name: &str| std::fs::read_to_string(sensor.path().join(name)).ok();
        let alarm =
            read("name").filter(|name| name.trim() == "rpi_volt").and_then(|_| read("in0_lcrit_alarm"))?;
        Some(Power { under_voltage: alarm.trim() == "1", slowed: false })
    })
}

/// Hexadecimal, with or without `0x`.
fn throttled(text: &str) -> Option<u32> {
    let text = text.trim();
    u32::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
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
        let root = tempfile::tempdir().unwrap();
        let file = "sys/devices/platform/soc/soc:firmware/get_throttled";
        assert_eq!(power(root.path()), None);
        for (text, under_voltage, slowed) in
            [("0\n", false, false), ("50005\n", true, true), ("0x50000", false, false), ("8", false, true)]
        {
            put(root.path(), file, text);
            assert_eq!(power(root.path()), Some(Power { under_voltage, slowed }), "{text}");
        }
    }

    #[test]
    fn without_the_firmwares_file_the_sensor_tells() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "sys/class/hwmon/hwmon0/name", "cpu_thermal\n");
        put(root.path(), "sys/class/hwmon/hwmon2/name", "rpi_volt\n");
        put(root.path(), "sys/class/hwmon/hwmon2/in0_lcrit_alarm", "1\n");
        assert_eq!(power(root.path()), Some(Power { under_voltage: true, slowed: false }));
    }
}
