//! Who should own what: rendezvous hashing.
//!
//! Each member has a weight for each resource, and the heaviest should own it. A member that comes
//! takes only what it is heaviest for, and what a leaving one had goes to the next heaviest: nothing
//! else moves. The function is fixed for ever: members of different versions must agree.

/// The weight of an instance for a resource: FNV-1a (64 bit) over `resource`, a zero byte, `instance`,
/// then the finalizer of MurmurHash3, because FNV alone hardly spreads names that differ in their last
/// letter.
pub(crate) fn weight(resource: &str, instance: &str) -> u64 {
    let mut hash = fnv1a(resource.bytes().chain([0]).chain(instance.bytes()));
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// The instance that should own a resource; `None` when there is none at all.
pub(crate) fn choice<'a>(resource: &str, instances: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    instances.max_by_key(|instance| (weight(resource, instance), *instance))
}

/// The `count` instances that rank highest for a resource, the one that should own it first.
pub(crate) fn ranked<'a>(
    resource: &str,
    instances: impl Iterator<Item = &'a str>,
    count: usize,
) -> Vec<&'a str> {
    let mut ranked: Vec<_> = instances.map(|instance| (weight(resource, instance), instance)).collect();
    ranked.sort_unstable_by(|a, b| b.cmp(a));
    ranked.into_iter().take(count).map(|(_, instance)| instance).collect()
}

/// Two members with the same digest want the same resources.
pub(crate) fn digest<'a>(resources: impl Iterator<Item = &'a str>) -> String {
    let hash = fnv1a(resources.flat_map(|resource| resource.bytes().chain([0])));
    format!("{hash:016x}")
}

fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_are_fixed_for_ever() {
        assert_eq!(fnv1a("foobar".bytes()), 0x8594_4171_f739_67e8);
        assert_eq!(weight("partition.0", "gateway-1"), 0x600d_daa9_d6ff_6ed7);
    }

    #[test]
    fn similar_names_share_evenly() {
        let names: Vec<String> = (0..4).map(|n| format!("gateway-{n}")).collect();
        let mut owned = [0_u32; 4];
        for n in 0..4000 {
            let chosen = choice(&format!("channel.{n}"), names.iter().map(String::as_str)).unwrap();
            owned[names.iter().position(|name| name == chosen).unwrap()] += 1;
        }
        assert!(owned.iter().all(|count| (900..1100).contains(count)), "{owned:?}");
    }

    #[test]
    fn a_member_that_goes_leaves_the_others_what_they_had() {
        let all = ["a", "b", "c"];
        for n in 0..1000 {
            let resource = n.to_string();
            let before = choice(&resource, all.into_iter()).unwrap();
            let after = choice(&resource, all.into_iter().filter(|name| *name != "b")).unwrap();
            assert!(before == after || before == "b");
        }
    }

    #[test]
    fn the_first_of_the_ranked_is_the_chosen_one_and_the_second_follows_it() {
        let all = ["a", "b", "c"];
        for n in 0..1000 {
            let resource = n.to_string();
            let two = ranked(&resource, all.into_iter(), 2);
            assert_eq!(choice(&resource, all.into_iter()), Some(two[0]));
            assert_eq!(choice(&resource, all.into_iter().filter(|name| *name != two[0])), Some(two[1]));
        }
        assert_eq!(ranked("x", ["a"].into_iter(), 2), ["a"]);
    }
}
