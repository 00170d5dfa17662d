//! A group of nodes in memory: messages that are lost, repeated and late, disks that lose what was not durable, and the
//! properties that must hold whatever happens.

mod bad_input;
mod chaos;
mod disk;
mod doubt;
mod doubt_stories;
mod group;
mod leader_stories;
mod log_stories;
mod member_stories;
mod peer_stories;
mod peers;
mod stories;
mod tables;
mod words;
