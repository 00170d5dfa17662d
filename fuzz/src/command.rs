//! Commands of the ledger: their bytes, and what they come to, against a model that is nothing but a list of names.

use std::collections::BTreeMap;

use dps_core::crypto::hash::sha256;
use dps_core::id::FileId;
use dps_core::keystore::manifest::Manifest;
use dps_core::ledger::command::{COMMAND_BYTES_MAX, Command, Outcome};
use dps_core::ledger::file::{Expect, Target};
use dps_core::ledger::name::Name;
use dps_core::ledger::state::State;
use dps_core::time::WallTime;

use crate::input::Input;

const COMMANDS_MAX: usize = 64;

/// What a name means: its version and its content.
type Model = BTreeMap<Name, (u64, FileId)>;

/// Decodes bytes as a command, and applies a sequence of commands, some of them decoded from the bytes.
///
/// # Panics
/// When an accepted command is not written as it was read; when an outcome or the state is not the model's; when a frozen
/// copy changes; when the way to a state shows in its root.
pub fn command(data: &[u8]) {
    round_trip(data);
    let mut input = Input::new(data);
    let (mut state, mut model, mut index) = (State::new(), Model::new(), 0);
    let mut frozen = None;
    for _ in 0..COMMANDS_MAX {
        if input.is_empty() {
            break;
        }
        let Some(command) = next(&mut input, &model) else { continue };
        index += 1 + u64::from(input.rarely(16));
        let outcome = state.apply(index, &command);
        assert_eq!(outcome, expected(&mut model, index, &command), "the outcome of {command:?}");
        state.check();
        assert_eq!(state.applied(), index);
        assert!(state.time() >= command.time(), "ledger time follows its commands");
        if input.rarely(8) {
            frozen = Some((state.clone(), state.root(), model.clone()));
        }
    }
    compare(&state, &model);
    if let Some((state, root, model)) = frozen {
        compare(&state, &model);
        assert_eq!(state.root(), root, "a frozen state stays as it was");
    }
    expect_pure_root(&state, &model);
}

fn round_trip(data: &[u8]) -> Option<Command> {
    let command = Command::decode(data).ok()?;
    assert!(data.len() <= COMMAND_BYTES_MAX, "a command of {} bytes", data.len());
    assert_eq!(command.encode(), data, "there is one way to write a command down");
    Some(command)
}

/// A command: made of decisions, or of bytes as they come.
fn next(input: &mut Input<'_>, model: &Model) -> Option<Command> {
    if input.rarely(8) {
        let len = usize::from(input.u16() % 1_024);
        return round_trip(input.bytes(len));
    }
    let name = name(input)?;
    let current = model.get(&name).map(|(version, _)| *version);
    let expect = match input.below(6) {
        0 => Expect::Absent,
        1 => Expect::Version(u64::from(input.u8())),
        2 => current.map_or(Expect::Absent, Expect::Version),
        _ => Expect::Any,
    };
    let time = WallTime::from_nanos(if input.rarely(16) { input.u64() } else { u64::from(input.u8()) });
    if input.rarely(3) {
        return Some(Command::Delete { time, name, expect });
    }
    let len = input.below(4);
    let content = input.bytes(len);
    let manifest = Manifest::inline(FileId::from_bytes(sha256(content)), content);
    let command = Command::Put { time, name, expect, manifest };
    assert_eq!(Command::decode(&command.encode()).as_ref(), Ok(&command), "a command comes back");
    Some(command)
}

/// A name that shares its beginning with others, so that every edge of the tree is split and merged.
fn name(input: &mut Input<'_>) -> Option<Name> {
    let choice = input.u8();
    let text: Vec<u8> = match choice % 4 {
        0 => vec![b'a'; 1 + usize::from(choice / 4 % 8)],
        1 => [vec![b'a'; usize::from(choice / 4 % 8)], vec![b'b' + choice / 32]].concat(),
        2 => vec![b'x'; if choice > 128 { 1_024 } else { 1_023 }],
        _ => input.bytes(1 + usize::from(choice / 4 % 16)).to_vec(),
    };
    Name::new(&text).ok()
}

fn expected(model: &mut Model, index: u64, command: &Command) -> Outcome {
    let (Command::Put { name, expect, .. } | Command::Delete { name, expect, .. }) = command;
    let current = model.get(name).map(|(version, _)| *version);
    let met = match expect {
        Expect::Any => true,
        Expect::Absent => current.is_none(),
        Expect::Version(version) => current == Some(*version),
    };
    match command {
        _ if !met => Outcome::Conflict { current },
        Command::Put { name, manifest, .. } => {
            model.insert(name.clone(), (index, manifest.file));
            Outcome::Stored { version: index }
        }
        Command::Delete { name, .. } => match model.remove(name) {
            Some(_) => Outcome::Deleted,
            None => Outcome::NotFound,
        },
    }
}

/// The state says what the model says, by name, by content and in listings from any place.
fn compare(state: &State, model: &Model) {
    let listed: Vec<(Name, u64, FileId)> =
        state.names("", None).map(|(name, entry)| (name, entry.version, entry.file)).collect();
    let known: Vec<(Name, u64, FileId)> =
        model.iter().map(|(name, (version, file))| (name.clone(), *version, *file)).collect();
    assert_eq!(listed, known, "every name, in order");
    assert_eq!(state.name_count(), known.len() as u64);
    for (at, (name, version, file)) in known.iter().enumerate() {
        let (stat, manifest) = state.stat(&Target::Name(name.clone())).expect("a name that is listed");
        assert_eq!((stat.version, stat.file, manifest.file), (*version, *file, *file));
        let names = known.iter().filter(|(_, _, other)| other == file).count() as u64;
        assert_eq!(stat.names, names, "a content counts its names");
        assert!(state.stat(&Target::Content(*file)).is_some(), "and is found by itself");
        let next = state.names("", Some(name)).next().map(|(name, _)| name);
        assert_eq!(next.as_ref(), known.get(at + 1).map(|(name, _, _)| name), "a listing goes on anywhere");
        let prefixed = state.names(name.as_str(), None).count();
        let expected = known.iter().filter(|(other, _, _)| other.as_str().starts_with(name.as_str())).count();
        assert_eq!(prefixed, expected, "a prefix lists what begins like it");
    }
    let contents: std::collections::BTreeSet<FileId> = known.iter().map(|(_, _, file)| *file).collect();
    assert_eq!(state.content_count(), contents.len() as u64, "a content goes with its last name");
}

/// The same names stored directly, without the detours, make the same root.
fn expect_pure_root(state: &State, model: &Model) {
    let mut by_version: Vec<(&Name, u64, FileId)> =
        model.iter().map(|(name, (version, file))| (name, *version, *file)).collect();
    by_version.sort_unstable_by_key(|(_, version, _)| *version);
    let mut direct = State::new();
    for (name, version, file) in by_version {
        let manifest = state.content(&file).expect("what a name means exists").manifest.clone();
        let stored_at = state.name(name).expect("it is in the model").stored_at;
        direct.apply(version, &Command::Put { time: stored_at, name: name.clone(), expect: Expect::Any, manifest });
    }
    let last = Name::new(b"no such name").expect("a good name");
    let index = state.applied().max(direct.applied()) + 1;
    let touch = Command::Delete { time: state.time(), name: last, expect: Expect::Absent };
    let mut state = state.clone();
    assert_eq!(state.apply(index, &touch), direct.apply(index, &touch));
    assert_eq!(state.root(), direct.root(), "the way to a state does not show");
}
