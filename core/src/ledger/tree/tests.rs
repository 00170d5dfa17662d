//! The tree against a sorted map, and its shape and hash against ones computed from the contents alone.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;

impl TreeValue for u16 {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
}

type Model = BTreeMap<Vec<u8>, u16>;

fn entries(tree: &Tree<u16>, prefix: &[u8], after: Option<&[u8]>) -> Vec<(Vec<u8>, u16)> {
    let mut scan = tree.scan(prefix, after);
    let mut found = Vec::new();
    while let Some(value) = scan.advance() {
        found.push((scan.key().to_vec(), *value));
    }
    assert_eq!(scan.advance(), None, "the end stays the end");
    found
}

/// The hash that the module's head describes, straight from the contents: no node, no history. All keys begin with the
/// `above` bytes that are read on the way to the node.
fn model_hash(contents: &[(Vec<u8>, u16)], above: usize) -> [u8; HASH_LEN] {
    let label_len = match contents {
        _ if above == 0 => 0,
        [] => unreachable!("only the root can be without contents"),
        [(first, _), others @ ..] => others
            .iter()
            .map(|(key, _)| common_len(&first[above..], &key[above..]))
            .min()
            .unwrap_or(first.len() - above),
    };
    let (label, end) = (contents.first().map_or(&[][..], |(key, _)| &key[above..above + label_len]), above + label_len);
    let own = contents.iter().find(|(key, _)| key.len() == end).map(|(_, value)| *value);
    let mut children: BTreeMap<u8, Vec<(Vec<u8>, u16)>> = BTreeMap::new();
    for (key, value) in contents.iter().filter(|(key, _)| key.len() > end) {
        children.entry(key[end]).or_default().push((key.clone(), *value));
    }
    let is_leaf = children.is_empty() && own.is_some();
    let mut bytes = vec![u8::from(!is_leaf)];
    bytes.extend_from_slice(&(label_len as u16).to_le_bytes());
    bytes.extend_from_slice(label);
    if !is_leaf {
        bytes.extend_from_slice(&(children.len() as u16).to_le_bytes());
        for (byte, contents) in &children {
            bytes.push(*byte);
            // The root's own children start at 1, so `above == 0` means the root.
            bytes.extend_from_slice(&model_hash(contents, end + 1));
        }
        bytes.push(u8::from(own.is_some()));
    }
    if let Some(value) = own {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    sha256(&bytes)
}

fn model_root(model: &Model) -> [u8; HASH_LEN] {
    let contents: Vec<_> = model.iter().map(|(key, value)| (key.clone(), *value)).collect();
    model_hash(&contents, 0)
}

/// Addresses of all nodes.
fn nodes(tree: &Tree<u16>) -> Vec<*const Node<u16>> {
    let (mut found, mut stack) = (Vec::new(), vec![&tree.root]);
    while let Some(node) = stack.pop() {
        found.push(Arc::as_ptr(node));
        stack.extend(node.children.iter().map(|edge| &edge.node));
    }
    found
}

/// A key over an alphabet so small that prefixes, splits and merges are the rule.
fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(prop::sample::select(vec![0, b'a', b'b', 0xff]), 0..6),
        1 => prop::collection::vec(Just(b'a'), 0..40),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Insert(Vec<u8>, u16),
    Change(Vec<u8>, u16),
    Remove(Vec<u8>),
    Root,
    Freeze,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any_key(), any::<u16>()).prop_map(|(key, value)| Step::Insert(key, value)),
        2 => (any_key(), any::<u16>()).prop_map(|(key, value)| Step::Change(key, value)),
        5 => any_key().prop_map(Step::Remove),
        1 => Just(Step::Root),
        1 => Just(Step::Freeze),
    ]
}

#[test]
fn the_hash_never_changes() {
    let mut tree = Tree::new();
    let hex = |tree: &Tree<u16>| HEXLOWER.encode(&tree.root());
    assert_eq!(hex(&tree), "36c159d76b52e03e496363607c5940227f62f4e048df344b050159bc97bba3d7");
    tree.insert(b"nabc", 1);
    assert_eq!(hex(&tree), "30102c4b519bba43c7dc4322b02bb699efcc748ca6becb66ca7caf43d41686e3");
    tree.insert(b"nab", 2);
    tree.insert(b"nax", 3);
    tree.insert(b"c", 4);
    assert_eq!(hex(&tree), "d2589bba9c3e3abf74a489ce3285acfd473614bcc0355d7e624b344205762c13");
}

#[test]
fn a_change_copies_only_its_path() {
    let mut tree = Tree::new();
    for number in 0..1_000 {
        tree.insert(format!("{number:04}").as_bytes(), number);
    }
    let frozen = tree.clone();
    let root = frozen.root();
    let before = nodes(&frozen);
    let copied = |tree: &Tree<u16>| nodes(tree).iter().filter(|node| !before.contains(node)).count();
    assert_eq!(copied(&tree), 0);
    assert_eq!(tree.get_mut(b"no such key"), None);
    assert_eq!(tree.remove(b"012"), None);
    assert_eq!(copied(&tree), 0, "what changes nothing copies nothing");
    // The root, then one node for each digit after the common zero.
    assert_eq!(tree.insert(b"0123", 7), Some(123));
    assert_eq!(copied(&tree), 5);
    assert_eq!(tree.remove(b"0124"), Some(124));
    assert_eq!(copied(&tree), 5, "what is ours already is changed in place");
    assert_ne!(tree.root(), root);
    assert_eq!((frozen.root(), frozen.get(b"0123")), (root, Some(&123)));
    frozen.check();
    tree.check();
}

#[test]
fn a_root_asked_again_hashes_only_what_changed() {
    let mut tree = Tree::new();
    for number in 0..1_000 {
        tree.insert(format!("{number:04}").as_bytes(), number);
    }
    let unknown = |tree: &Tree<u16>| {
        let (mut count, mut stack) = (0, vec![&tree.root]);
        while let Some(node) = stack.pop() {
            count += usize::from(node.hash.get().is_none());
            stack.extend(node.children.iter().map(|edge| &edge.node));
        }
        count
    };
    assert_eq!(unknown(&tree), nodes(&tree).len());
    let _ = tree.root();
    assert_eq!(unknown(&tree), 0);
    tree.insert(b"0500", 1);
    assert_eq!(unknown(&tree), 5);
    let clone = tree.clone();
    let _ = clone.root();
    assert_eq!(unknown(&tree), 0, "clones share what they hash");
}

/// One node per byte, as deep as a tree can be: nothing may recurse, in the small stack of a test thread least of all.
#[test]
fn the_deepest_tree_is_hashed_walked_checked_and_dropped() {
    let key = [b'a'; TREE_KEY_BYTES_MAX];
    let mut tree = Tree::new();
    for len in 0..=key.len() {
        tree.insert(&key[..len], len as u16);
    }
    assert_eq!(nodes(&tree).len(), key.len() + 1);
    assert_ne!(tree.root(), Tree::<u16>::new().root());
    tree.check();
    assert_eq!(entries(&tree, b"", Some(&key[..key.len() - 1])).len(), 1);
    let frozen = tree.clone();
    for len in 1..=key.len() {
        assert_eq!(tree.remove(&key[..len]), Some(len as u16));
    }
    drop(tree);
    assert_eq!(entries(&frozen, &key, None), [(key.to_vec(), key.len() as u16)]);
}

/// A chain of nodes far deeper than any key makes, without the checks of `insert`.
#[test]
fn dropping_does_not_depend_on_the_depth() {
    let mut node = Node::leaf(b"", 0_u16);
    for _ in 0..1_000_000 {
        let children = vec![Edge { byte: 0, node }];
        node = Arc::new(Node { label: Box::default(), value: None, children, hash: HashCell::default() });
    }
    let shared = Arc::clone(&node.children[0].node);
    drop(node);
    assert_eq!(Arc::strong_count(&shared), 1);
}

#[test]
#[should_panic(expected = "too long")]
fn a_key_beyond_the_bound_is_a_bug() {
    Tree::new().insert(&[0; TREE_KEY_BYTES_MAX + 1], 0_u16);
}

#[test]
fn scans_begin_and_end_where_they_should() {
    let mut tree = Tree::new();
    for (value, key) in (0..).zip(["a", "ab", "abc", "abd", "b", "ba\u{ff}"]) {
        tree.insert(key.as_bytes(), value);
    }
    let keys = |prefix: &str, after: Option<&str>| -> Vec<String> {
        let found = entries(&tree, prefix.as_bytes(), after.map(str::as_bytes));
        found.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect()
    };
    for (prefix, after, expected) in [
        ("", None, &["a", "ab", "abc", "abd", "b", "ba\u{ff}"][..]),
        ("", Some(""), &["a", "ab", "abc", "abd", "b", "ba\u{ff}"]),
        ("", Some("abc"), &["abd", "b", "ba\u{ff}"]),
        ("", Some("abcz"), &["abd", "b", "ba\u{ff}"]),
        ("ab", None, &["ab", "abc", "abd"]),
        ("ab", Some("a"), &["ab", "abc", "abd"]),
        ("ab", Some("ab"), &["abc", "abd"]),
        ("ab", Some("abca"), &["abd"]),
        ("ab", Some("abd"), &[]),
        ("ab", Some("b"), &[]),
        ("ba", None, &["ba\u{ff}"]),
        ("abx", None, &[]),
        ("abcx", None, &[]),
        ("c", None, &[]),
    ] {
        assert_eq!(keys(prefix, after), expected, "prefix {prefix:?}, after {after:?}");
    }
}

proptest! {
    #[test]
    fn the_tree_is_a_sorted_map(steps in prop::collection::vec(any_step(), 0..120)) {
        let (mut tree, mut model) = (Tree::new(), Model::new());
        let mut frozen: Vec<(Tree<u16>, Model)> = Vec::new();
        for step in steps {
            match step {
                Step::Insert(key, value) => prop_assert_eq!(tree.insert(&key, value), model.insert(key, value)),
                Step::Change(key, value) => {
                    let (found, expected) = (tree.get_mut(&key), model.get_mut(&key));
                    prop_assert_eq!(&found, &expected);
                    if let (Some(found), Some(expected)) = (found, expected) {
                        (*found, *expected) = (value, value);
                    }
                }
                Step::Remove(key) => prop_assert_eq!(tree.remove(&key), model.remove(&key)),
                Step::Root => prop_assert_eq!(tree.root(), model_root(&model)),
                Step::Freeze => frozen.push((tree.clone(), model.clone())),
            }
            tree.check();
        }
        frozen.push((tree, model));
        for (tree, model) in frozen {
            tree.check();
            prop_assert_eq!(tree.len(), model.len() as u64);
            prop_assert_eq!(tree.is_empty(), model.is_empty());
            prop_assert_eq!(tree.root(), model_root(&model));
            prop_assert_eq!(entries(&tree, b"", None), model.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_root_does_not_depend_on_history(
        contents in prop::collection::vec((any_key(), any::<u16>()), 0..40),
        strangers in prop::collection::vec(any_key(), 0..40),
    ) {
        let model: Model = contents.iter().cloned().collect();
        let (mut straight, mut winding) = (Tree::new(), Tree::new());
        for (key, value) in &model {
            straight.insert(key, *value);
        }
        for key in strangers.iter().chain(model.keys().rev()) {
            winding.insert(key, 0);
            let _ = winding.root();
        }
        for (key, value) in contents {
            winding.insert(&key, value);
        }
        for key in strangers.iter().filter(|key| !model.contains_key(*key)) {
            winding.remove(key);
        }
        winding.check();
        prop_assert_eq!(straight.root(), winding.root());
        prop_assert_eq!(straight.root(), model_root(&model));
    }

    #[test]
    fn a_scan_finds_what_is_in_its_range(
        contents in prop::collection::btree_map(any_key(), any::<u16>(), 0..60),
        prefix in any_key(),
        after in prop::option::of(any_key()),
    ) {
        let mut tree = Tree::new();
        for (key, value) in &contents {
            tree.insert(key, *value);
        }
        let after = after.as_deref();
        let in_range = |key: &[u8]| key.starts_with(&prefix) && after.is_none_or(|after| key > after);
        let expected: Vec<_> = contents.into_iter().filter(|(key, _)| in_range(key)).collect();
        prop_assert_eq!(entries(&tree, &prefix, after), expected.clone());
        // Resuming after any entry gives the rest.
        for (position, (key, _)) in expected.iter().enumerate() {
            prop_assert_eq!(&entries(&tree, &prefix, Some(key)), &expected[position + 1..]);
        }
    }
}
