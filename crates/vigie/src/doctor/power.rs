//! The power and the heat of a Raspberry Pi, as its firmware counts them.

use super::{Finding, machine::Machine};

/// Below it, kernels of Raspberry Pi OS show the number that `vcgencmd get_throttled` prints, as
/// `soc/soc:firmware/get_throttled` or with the address of the chip in both names.
const PLATFORM: &str = "/sys/devices/platform";
/// Bits of that number. Each also tells since the start, [`SINCE`] bits further up
/// (<https://www.raspberrypi.com/documentation/computers/os.html#get_throttled>).
const UNDER_VOLTAGE: u32 = 1;
const CAPPED: u32 = 1 << 1;
const THROTTLED_NOW: u32 = 1 << 2;
const WARM: u32 = 1 << 3;
const SINCE: u32 = 16;
/// A Pi begins to slow down here, in thousandths of a degree Celsius.
const HOT: i64 = 80_000;
const TOO_HOT: i64 = 85_000;

const SUPPLY: &str =
    "use the Pi's own power supply and a short cable, and plug disks into a hub with its own";
const COOL: &str = "give it a fan or a heat sink, or a cooler place";

pub(crate) fn look(machine: &Machine) -> Vec<Finding> {
    let mut findings = match throttled(machine).and_then(|text| bits(&text)) {
        Some(bits) => power(bits),
        None => alarm(machine).into_iter().collect(),
    };
    findings.extend(heat(machine));
    findings
}

fn throttled(machine: &Machine) -> Option<String> {
    let chips = machine.names(PLATFORM).into_iter().filter(|name| name.starts_with("soc"));
    let chips = chips.map(|chip| format!("{PLATFORM}/{chip}"));
    chips.into_iter().find_map(|chip| {
        let parts = machine.names(&chip).into_iter().filter(|name| name.ends_with("firmware"));
        parts.into_iter().find_map(|part| machine.read(&format!("{chip}/{part}/get_throttled")))
    })
}

fn bits(text: &str) -> Option<u32> {
    u32::from_str_radix(text.trim_start_matches("0x"), 16).ok()
}

fn power(bits: u32) -> Vec<Finding> {
    let (now, since) = (|bit: u32| bits & bit != 0, |bit: u32| bits & bit << SINCE != 0);
    let code = format!("get_throttled 0x{bits:x}");
    let mut findings = Vec::new();
    if now(UNDER_VOLTAGE) {
        findings.push(Finding::bad("power", format!("too little voltage right now ({code})"), SUPPLY));
    } else if since(UNDER_VOLTAGE) {
        findings.push(Finding::warn(
            "power",
            format!("too little voltage at least once since the start ({code}): cards break by that"),
            SUPPLY,
        ));
    }
    if now(CAPPED | THROTTLED_NOW) {
        let seen = format!("slowed down right now, by heat or by too little voltage ({code})");
        findings.push(Finding::warn("power", seen, COOL));
    } else if since(CAPPED | THROTTLED_NOW) {
        findings.push(Finding::note("power", format!("was slowed down since the start ({code})")));
    }
    if now(WARM) {
        findings.push(Finding::note("power", format!("at the soft limit of its temperature ({code})")));
    }
    if findings.is_empty() {
        findings.push(Finding::good("power", "enough voltage since the start, never slowed down"));
    }
    findings
}

/// What other kernels tell of the same firmware: too little voltage since the last look.
fn alarm(machine: &Machine) -> Option<Finding> {
    let sensors =
        machine.names("/sys/class/hwmon").into_iter().map(|name| format!("/sys/class/hwmon/{name}"));
    let told = sensors
        .filter(|sensor| machine.read(&format!("{sensor}/name")).as_deref() == Some("rpi_volt"))
        .find_map(|sensor| machine.read(&format!("{sensor}/in0_lcrit_alarm")));
    match told.as_deref() {
        Some("0") => Some(Finding::good("power", "enough voltage")),
        Some(_) => Some(Finding::bad("power", "too little voltage", SUPPLY)),
        None if machine.model().is_some_and(|model| model.starts_with("Raspberry Pi")) => {
            Some(Finding::note("power", "cannot be seen from here; `vcgencmd get_throttled` tells"))
        }
        None => None,
    }
}

fn heat(machine: &Machine) -> Option<Finding> {
    let zones =
        machine.names("/sys/class/thermal").into_iter().filter(|name| name.starts_with("thermal_zone"));
    let read = |zone: String| machine.read(&format!("/sys/class/thermal/{zone}/temp"))?.parse::<i64>().ok();
    let hottest = zones.filter_map(read).max()?;
    let seen = format!("{}.{} °C", hottest / 1000, hottest.unsigned_abs() % 1000 / 100);
    Some(match hottest {
        ..HOT => Finding::good("heat", seen),
        HOT..TOO_HOT => Finding::warn("heat", format!("{seen}: a Pi slows down from here"), COOL),
        TOO_HOT.. => Finding::bad("heat", format!("{seen}: too hot"), COOL),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Verdict, fake::Fake};

    fn verdicts(text: &str) -> Vec<Verdict> {
        power(bits(text).unwrap()).iter().map(|one| one.verdict).collect()
    }

    #[test]
    fn the_bits_of_the_firmware_are_told_in_words() {
        assert_eq!(verdicts("0"), [Verdict::Good]);
        assert_eq!(verdicts("50005"), [Verdict::Bad, Verdict::Warn]);
        assert_eq!(verdicts("0x50000"), [Verdict::Warn, Verdict::Note]);
        assert_eq!(verdicts("80008"), [Verdict::Note]);
    }

    #[test]
    fn another_kernels_alarm_is_read_where_it_is() {
        let fake = Fake::pi();
        fake.without("sys/devices/platform/soc/soc:firmware/get_throttled");
        fake.file("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n");
        assert_eq!(look(&fake.machine())[0].verdict, Verdict::Bad);
        fake.without("sys/class/hwmon/hwmon1/in0_lcrit_alarm");
        assert_eq!(look(&fake.machine())[0].verdict, Verdict::Note, "a Pi that does not tell");
    }

    #[test]
    fn heat_has_a_scale() {
        let fake = Fake::pi();
        for (temperature, verdict) in
            [("48312", Verdict::Good), ("81000", Verdict::Warn), ("86000", Verdict::Bad)]
        {
            fake.file("sys/class/thermal/thermal_zone0/temp", temperature);
            assert_eq!(heat(&fake.machine()).unwrap().verdict, verdict);
        }
        assert_eq!(heat(&fake.machine()).unwrap().seen, "86.0 °C: too hot");
    }
}
