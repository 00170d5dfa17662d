//! A group of nodes in memory: messages that are lost, repeated and late, disks that lose what was not durable, and the
//! properties that must hold whatever happens.

mod chaos;
mod disk;
mod doubt;
mod doubt_stories;
mod group;
mod stories;
mod tables;
mod words;
