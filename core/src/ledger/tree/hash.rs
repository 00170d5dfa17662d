//! The hash of a node, kept in the node once it was asked for.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::crypto::hash::HASH_LEN;

const WORDS: usize = HASH_LEN / 8;

/// A hash that is filled at most once between two changes of its node.
///
/// A node may be shared by threads that ask for its hash at the same time. They all compute the same value, so it does
/// not matter who stores it, or how often; `filled` is written last and read first, so nobody sees half of it.
#[derive(Debug, Default)]
pub(super) struct HashCell {
    words: [AtomicU64; WORDS],
    /// Invariant: `words` hold the hash of the node as it is now, if this is true.
    filled: AtomicBool,
}

impl HashCell {
    /// The hash, if it is known.
    pub(super) fn get(&self) -> Option<[u8; HASH_LEN]> {
        if !self.filled.load(Ordering::Acquire) {
            return None;
        }
        let mut hash = [0; HASH_LEN];
        for (bytes, word) in hash.chunks_exact_mut(8).zip(&self.words) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        Some(hash)
    }

    /// Keeps the hash of the node.
    ///
    /// # Panics
    /// If another hash is known already: the node changed without clearing it.
    pub(super) fn set(&self, hash: &[u8; HASH_LEN]) {
        assert!(self.get().is_none_or(|known| known == *hash), "a shared node never changes, so neither does its hash");
        for (word, bytes) in self.words.iter().zip(hash.chunks_exact(8)) {
            let bytes = bytes.try_into().expect("chunks_exact gives pieces of 8 bytes");
            word.store(u64::from_le_bytes(bytes), Ordering::Relaxed);
        }
        self.filled.store(true, Ordering::Release);
    }

    /// Forgets the hash: the node is about to change.
    pub(super) fn clear(&mut self) {
        *self.filled.get_mut() = false;
    }
}

/// The copy of a node is the same node until it is changed.
impl Clone for HashCell {
    fn clone(&self) -> Self {
        let copy = Self::default();
        if let Some(hash) = self.get() {
            copy.set(&hash);
        }
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::hash::sha256;

    #[test]
    fn a_cell_gives_back_what_was_set_until_it_is_cleared() {
        let mut cell = HashCell::default();
        assert_eq!(cell.get(), None);
        let hash = sha256(b"abc");
        cell.set(&hash);
        cell.set(&hash);
        assert_eq!(cell.get(), Some(hash));
        let copy = cell.clone();
        cell.clear();
        assert_eq!(cell.get(), None);
        assert_eq!(copy.get(), Some(hash));
        assert_eq!(cell.clone().get(), None);
    }

    #[test]
    #[should_panic(expected = "a shared node never changes")]
    fn a_second_hash_for_the_same_node_is_a_bug() {
        let cell = HashCell::default();
        cell.set(&sha256(b"one"));
        cell.set(&sha256(b"two"));
    }
}
