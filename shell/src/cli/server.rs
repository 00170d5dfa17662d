//! `dps server`: a member of a group, until a signal comes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use dps_core::limits::VOTERS_MAX;
use tracing::info;

use super::args::Server as Args;
use super::failure::{Exit, Failure};
use super::render::Renderer;
use super::{Interrupts, options};
use crate::disk::Create;
use crate::server::{Options, Server as Running, ServerError};

/// A member whose arguments are checked.
pub(super) struct Server {
    number: u8,
    peers: BTreeMap<u8, SocketAddr>,
    listen: SocketAddr,
}

impl Server {
    pub(super) fn prepare(args: &Args) -> Result<Self, Failure> {
        let mut peers = BTreeMap::new();
        for peer in &args.peers {
            let (number, address) = parse(peer)?;
            if peers.insert(number, address).is_some() {
                return Err(usage(format!("member {number} is named twice in --peers")));
            }
        }
        if peers.len() > VOTERS_MAX {
            return Err(usage(format!("--peers has {} members, and a group has at most {VOTERS_MAX}", peers.len())));
        }
        if !peers.contains_key(&args.node) {
            return Err(usage(format!("--peers does not name member {}, which this is to be", args.node)));
        }
        Ok(Self { number: args.node, peers, listen: args.listen })
    }

    pub(super) async fn run(
        self,
        path: &Path,
        create: Create,
        interrupts: &mut Interrupts,
        renderer: &mut Renderer,
    ) -> Result<(), Failure> {
        let Self { number, peers, listen } = self;
        let config = options(create)?.config;
        let starting = Running::start(path, Options { number, peers, listen, config, create });
        let mut running = interrupts.guard(starting).await?.map_err(Failure::server)?;
        renderer.serving(number, running.address)?;
        renderer.flush()?;
        let ended = interrupts.guard(running.ended()).await;
        match ended {
            Ok(error) => Err(Failure::server(error)),
            // A signal is how a member is stopped.
            Err(_) => {
                info!("closing");
                interrupts.guard(running.close()).await
            }
        }
    }
}

fn parse(peer: &str) -> Result<(u8, SocketAddr), Failure> {
    let bad = || usage(format!("\"{peer}\" in --peers is not NUMBER=ADDRESS:PORT, with numbers from 1 to 255"));
    let (number, address) = peer.split_once('=').ok_or_else(bad)?;
    let number = number.parse().ok().filter(|number| *number > 0).ok_or_else(bad)?;
    Ok((number, address.parse().map_err(|_| bad())?))
}

fn usage(what: String) -> Failure {
    Failure::new("E_USAGE", Exit::Usage, what)
        .hint("the same list for all members: --peers 1=127.0.0.1:7301,2=127.0.0.1:7302")
}

impl Failure {
    fn server(error: ServerError) -> Self {
        match error {
            ServerError::Open(error) => Self::store("the data directory", error.into()),
            ServerError::OtherMember { .. } => Self::new("E_OTHER_MEMBER", Exit::NoStore, error.to_string())
                .hint("nothing was written to it; choose another directory with --data DIR, or the number and list that it was made with"),
            ServerError::Listen { address, source } => {
                Self::new("E_LISTEN", Exit::Failed, format!("{address} can't be listened at"))
                    .cause(source)
                    .hint("another process may use that address, or it is not one of this machine")
            }
            ServerError::Entropy(error) => Self::store("the member", crate::StoreError::Entropy(error)),
            ServerError::Halted(reason) => Self::store("the member", crate::StoreError::Halted(reason)),
            ServerError::Stopped => Self::store("the member", crate::StoreError::Closed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(node: u8, peers: &[&str]) -> Result<Server, Failure> {
        let listen = "127.0.0.1:0".parse().expect("an address");
        Server::prepare(&Args { node, peers: peers.iter().map(|peer| String::from(*peer)).collect(), listen })
    }

    #[test]
    fn a_list_names_each_member_once_and_this_one() {
        let server = prepared(2, &["1=127.0.0.1:1", "2=[::1]:2"]).map(|server| server.peers.len());
        assert_eq!(server.ok(), Some(2));
        for (node, peers) in [
            (1, &["1=127.0.0.1:1", "1=127.0.0.1:2"][..]),
            (3, &["1=127.0.0.1:1"]),
            (1, &["0=127.0.0.1:1", "1=127.0.0.1:1"]),
            (1, &["1=localhost"]),
            (1, &["127.0.0.1:1"]),
            (1, &[&*(1..=8).map(|number| format!("{number}=127.0.0.1:{number}")).collect::<Vec<_>>().join("=")]),
        ] {
            assert!(prepared(node, peers).is_err(), "{peers:?}");
        }
        let many: Vec<String> = (1..=8).map(|number| format!("{number}=127.0.0.1:{number}")).collect();
        let many: Vec<&str> = many.iter().map(|peer| &**peer).collect();
        assert!(prepared(1, &many).is_err(), "a group is small");
    }
}
