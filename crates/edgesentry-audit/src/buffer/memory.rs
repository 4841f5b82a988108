//! A buffer in memory: gone with the process.

use std::collections::{HashMap, VecDeque};

use super::{BufferError, BufferStore, BufferedEntry};
use crate::integrity::ChainAnchor;

/// Entries in memory.
#[derive(Debug, Clone, Default)]
pub struct InMemoryBufferStore {
    entries: VecDeque<BufferedEntry>,
    last: HashMap<String, ChainAnchor>,
}

impl InMemoryBufferStore {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }
}

impl BufferStore for InMemoryBufferStore {
    fn push(&mut self, entry: &BufferedEntry) -> Result<(), BufferError> {
        self.last.insert(entry.record.device_id.clone(), ChainAnchor::after(&entry.record));
        self.entries.push_back(entry.clone());
        Ok(())
    }

    fn front(&mut self, limit: usize) -> Result<Vec<BufferedEntry>, BufferError> {
        Ok(self.entries.iter().take(limit).cloned().collect())
    }

    fn remove(&mut self, count: usize) -> Result<(), BufferError> {
        self.entries.drain(..count.min(self.entries.len()));
        Ok(())
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn last(&mut self, device_id: &str) -> Result<Option<ChainAnchor>, BufferError> {
        Ok(self.last.get(device_id).copied())
    }
}
