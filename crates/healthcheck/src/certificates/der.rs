//! Until when a certificate (X.509, RFC 5280) is valid: the one field that is wanted of it. Whether anybody
//! trusts it is for those who use the server to say.

use time::{Date, Month, OffsetDateTime, Time};

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// What stands before the time of validity: serial number, algorithm, issuer.
const BEFORE_VALIDITY: usize = 3;

/// The end of its validity, in Unix milliseconds; `None` when these bytes are no certificate.
pub fn not_after(certificate: &[u8]) -> Option<u64> {
    let (tag, certificate, _) = element(certificate)?;
    let (inner_tag, mut rest, _) = element(certificate)?;
    if (tag, inner_tag) != (SEQUENCE, SEQUENCE) {
        return None;
    }
    if rest.first() == Some(&VERSION) {
        (_, _, rest) = element(rest)?;
    }
    for _ in 0..BEFORE_VALIDITY {
        (_, _, rest) = element(rest)?;
    }
    let (tag, validity, _) = element(rest)?;
    let (_, _, rest) = element(validity)?;
    let (kind, moment, _) = element(rest)?;
    if tag != SEQUENCE {
        return None;
    }
    unix_ms(kind, std::str::from_utf8(moment).ok()?)
}

/// The first element: its tag, what it holds, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // So many bytes hold the length; no certificate is longer than three say.
        0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (held, rest) = rest.split_at_checked(length)?;
    Some((tag, held, rest))
}

/// `YYMMDDhhmmssZ` up to 2049, `YYYYMMDDhhmmssZ` from then on.
fn unix_ms(kind: u8, text: &str) -> Option<u64> {
    let digits = text.strip_suffix('Z').filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    let (year, rest) = match (kind, digits.len()) {
        (UTC_TIME, 12) => {
            let year: i32 = digits[..2].parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, &digits[2..])
        }
        (GENERALIZED_TIME, 14) => (digits[..4].parse().ok()?, &digits[4..]),
        _ => return None,
    };
    let number = |at: usize| rest[2 * at..2 * at + 2].parse::<u8>().ok();
    let date = Date::from_calendar_date(year, Month::try_from(number(0)?).ok()?, number(1)?).ok()?;
    let time = Time::from_hms(number(2)?, number(3)?, number(4)?).ok()?;
    let seconds = OffsetDateTime::new_utc(date, time).unix_timestamp();
    u64::try_from(seconds).ok()?.checked_mul(1000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn certificate(year: i32) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 2, 28);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn the_end_of_a_real_certificate_is_found() {
        service::install_crypto();
        assert_eq!(not_after(&certificate(2027)), Some(1_803_772_800_000));
        assert_eq!(not_after(&certificate(2055)), Some(2_687_385_600_000), "with four digits for the year");
    }

    proptest! {
        #[test]
        fn anything_else_is_none(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(not_after(&bytes), None);
        }

        #[test]
        fn one_that_was_cut_is_none_or_the_same(cut in 0..400_usize) {
            service::install_crypto();
            let whole = certificate(2027);
            let found = not_after(&whole[..cut.min(whole.len() - 1)]);
            prop_assert_eq!(found, None);
        }
    }
}
