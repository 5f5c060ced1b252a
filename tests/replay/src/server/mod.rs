//! A PD and stores that play a script to whoever registers the recorded regions.

mod pd;
mod player;
mod stores;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use tidemark_proto::cdcpb::change_data_server::ChangeDataServer;
use tidemark_proto::pdpb::pd_server::PdServer;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use crate::script::Script;
use player::Player;

/// Far above any recorded message.
const MESSAGE_LIMIT: usize = 1 << 30;

/// The running servers; they end when this is dropped.
pub(crate) struct Replay {
    pub(crate) pd: String,
    pub(crate) player: Arc<Player>,
    _tasks: JoinSet<()>,
}

impl Replay {
    /// Starts PD and one server a store that the script names.
    pub(crate) async fn start(cluster_id: u64, script: Script) -> Result<Self> {
        let mut listeners = BTreeMap::new();
        for session in &script.sessions {
            if let Entry::Vacant(free) = listeners.entry(session.store) {
                free.insert(TcpListener::bind("127.0.0.1:0").await?);
            }
        }
        let mut addresses: BTreeMap<u64, SocketAddr> = BTreeMap::new();
        for (store, listener) in &listeners {
            addresses.insert(*store, listener.local_addr()?);
        }
        let pd_listener = TcpListener::bind("127.0.0.1:0").await?;
        let pd = format!("http://{}", pd_listener.local_addr()?);
        let player = Player::new(script);
        let mut tasks = JoinSet::new();
        for (store, listener) in listeners {
            let service = stores::Store {
                store,
                player: Arc::clone(&player),
            };
            let service = ChangeDataServer::new(service).max_encoding_message_size(MESSAGE_LIMIT);
            let server = Server::builder().add_service(service);
            tasks.spawn(async move {
                let _ = server.serve_with_incoming(TcpListenerStream::new(listener)).await;
            });
        }
        let service = pd::Pd {
            cluster_id,
            url: pd.clone(),
            addresses,
            player: Arc::clone(&player),
        };
        let server = Server::builder().add_service(PdServer::new(service));
        tasks.spawn(async move {
            let _ = server
                .serve_with_incoming(TcpListenerStream::new(pd_listener))
                .await;
        });
        let playing = Arc::clone(&player);
        tasks.spawn(async move { playing.play().await });
        Ok(Self {
            pd,
            player,
            _tasks: tasks,
        })
    }
}
