//! The Merkle tree hash of a list (RFC 6962, section 2.1) over SHA-256.

use alloc::vec::Vec;

use super::hash::{HASH_LEN, Sha256};

/// First byte of what is hashed for a leaf.
const DOMAIN_LEAF: u8 = 0;
/// First byte of what is hashed for an inner node.
const DOMAIN_NODE: u8 = 1;

/// A list of which only the hash is kept, in memory that grows with the logarithm of its length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MerkleTree {
    /// Hashes of the full subtrees that the leaves make, the largest and leftmost first.
    /// Invariant: one for each one bit of `leaves`.
    peaks: Vec<[u8; HASH_LEN]>,
    leaves: u64,
}

impl MerkleTree {
    /// The empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many leaves there are.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.leaves
    }

    /// Whether there is no leaf.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.leaves == 0
    }

    /// Appends a leaf: the bytes of all `pieces`, one after the other.
    pub fn push(&mut self, pieces: &[&[u8]]) {
        let mut hash = Sha256::new();
        hash.update(&[DOMAIN_LEAF]);
        for piece in pieces {
            hash.update(piece);
        }
        let mut peak = hash.finish();
        // Every full subtree that the new one completes has its other half at hand.
        for _ in 0..self.leaves.trailing_ones() {
            let left = self.peaks.pop().expect("a peak for each one bit of the count");
            peak = node(&left, &peak);
        }
        self.peaks.push(peak);
        self.leaves += 1;
        assert_eq!(self.peaks.len(), self.leaves.count_ones() as usize, "a peak for each one bit of the count");
    }

    /// The hash of the list; that of no bytes if it is empty.
    #[must_use]
    pub fn root(&self) -> [u8; HASH_LEN] {
        let join = |right: [u8; HASH_LEN], left: &[u8; HASH_LEN]| node(left, &right);
        let mut peaks = self.peaks.iter().rev();
        peaks.next().map_or_else(|| Sha256::new().finish(), |last| peaks.fold(*last, join))
    }
}

fn node(left: &[u8; HASH_LEN], right: &[u8; HASH_LEN]) -> [u8; HASH_LEN] {
    let mut hash = Sha256::new();
    hash.update(&[DOMAIN_NODE]);
    hash.update(left);
    hash.update(right);
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    /// Leaves and roots of the tests of Certificate Transparency: the root of the first, of the first two, and so on.
    const KNOWN: [(&str, &str); 8] = [
        ("", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        ("00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
        ("10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
        ("2021", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
        ("3031", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
        ("40414243", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
        ("5051525354555657", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
        ("606162636465666768696a6b6c6d6e6f", "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
    ];

    #[test]
    fn certificate_transparency_has_the_same_roots() {
        let mut tree = MerkleTree::new();
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(HEXLOWER.encode(&tree.root()), empty);
        assert!(tree.is_empty());
        for (leaf, root) in KNOWN {
            tree.push(&[&HEXLOWER.decode(leaf.as_bytes()).unwrap()]);
            assert_eq!(HEXLOWER.encode(&tree.root()), root, "after leaf {leaf:?}");
        }
        assert_eq!(tree.len(), 8);
    }

    #[test]
    fn memory_grows_with_the_logarithm() {
        let mut tree = MerkleTree::new();
        for number in 0..1_023_u32 {
            tree.push(&[&number.to_le_bytes()]);
            assert!(tree.peaks.len() <= 10);
        }
        assert_eq!(tree.peaks.len(), 10);
        tree.push(&[]);
        assert_eq!(tree.peaks.len(), 1);
    }

    /// The definition, word for word: split at the largest power of two below the length.
    fn defined(leaves: &[Vec<u8>]) -> [u8; HASH_LEN] {
        let hash = |parts: &[&[u8]]| crate::crypto::hash::sha256(&parts.concat());
        match leaves {
            [] => hash(&[]),
            [leaf] => hash(&[&[0], leaf]),
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                hash(&[&[1], &defined(left), &defined(right)])
            }
        }
    }

    proptest! {
        #[test]
        fn any_list_has_the_root_of_its_definition(
            leaves in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..70),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut tree = MerkleTree::new();
            for leaf in &leaves {
                let (head, tail) = leaf.split_at(cut.index(leaf.len() + 1));
                tree.push(&[head, tail]);
            }
            prop_assert_eq!(tree.root(), defined(&leaves));
        }
    }
}
