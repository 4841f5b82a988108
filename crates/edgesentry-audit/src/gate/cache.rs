//! Devices that a gate remembers.

use std::collections::HashMap;

use crate::gate::types::Device;
use crate::record::Hash32;

/// A device as the store had it at some moment. Everything that is decided by it is committed under the expectation
/// that both heads still hold.
#[derive(Debug, Clone)]
pub(super) struct Cached {
    /// The device; `next_*` is what follows the head below.
    pub device: Device,
    /// Hash of the entry `device.registry_seqno`.
    pub registry_hash: Hash32,
    /// Number of the last entry of the open epoch's stream; 0: none.
    pub chain_seqno: u64,
    /// Its hash; zero with 0.
    pub chain_hash: Hash32,
}

impl Cached {
    /// Number of the open epoch.
    pub fn epoch(&self) -> u64 {
        self.device.epochs.last().map_or(0, |epoch| epoch.number)
    }

    /// First record of the open epoch.
    pub fn first(&self) -> u64 {
        self.device.epochs.last().map_or(1, |epoch| epoch.first)
    }
}

/// At most about so many devices, those that were used last. Two generations: what is used moves to the young one,
/// and when that is full the old one goes.
#[derive(Debug)]
pub(super) struct Cache {
    young: HashMap<String, Cached>,
    old: HashMap<String, Cached>,
    half: usize,
}

impl Cache {
    pub fn new(devices: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half: (devices / 2).max(1) }
    }

    /// Takes a device out; whoever took it puts it back when it still holds.
    pub fn take(&mut self, device_id: &str) -> Option<Cached> {
        self.young.remove(device_id).or_else(|| self.old.remove(device_id))
    }

    pub fn put(&mut self, cached: Cached) {
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&cached.device.device_id);
        self.young.insert(cached.device.device_id.clone(), cached);
    }

    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    pub fn clear(&mut self) {
        self.young = HashMap::new();
        self.old = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cached(id: usize) -> Cached {
        let device = Device {
            device_id: id.to_string(),
            keys: vec![],
            versions: vec![2],
            epochs: vec![],
            revoked: None,
            registered_at_ms: 0,
            registry_seqno: 1,
            next_sequence: 1,
            next_prev_record_hash: [0; 32],
        };
        Cached { device, registry_hash: [0; 32], chain_seqno: 0, chain_hash: [0; 32] }
    }

    #[test]
    fn is_bounded_and_keeps_what_is_used() {
        let mut cache = Cache::new(100);
        cache.put(cached(0));
        for id in 1..1000 {
            cache.put(cached(id));
            assert!(cache.len() <= 100);
            let used = cache.take("0").expect("it was used a moment ago");
            cache.put(used);
        }
        assert!(cache.take("500").is_none());
        assert!(cache.take("999").is_some() && cache.take("999").is_none());
    }
}
