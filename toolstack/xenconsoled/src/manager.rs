//! Finds the guests and keeps a console for each.
//!
//! What guests there are, and where their rings are, is in the hypervisor and in xenstore. When xenstored is restarted,
//! the manager connects anew; the consoles go on meanwhile.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use hypercall::{DomId, DomainFlags, GrantDevice, Hypervisor, Mapping, Protection};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use xenstore::{Client, Watch};

use crate::console::{Console, DEFAULT_LIMIT, Order};
use crate::log_file;
use crate::ports::Ports;

/// Reference of the grant that a domain's builder makes for its console ring (`GNTTAB_RESERVED_CONSOLE`).
const GRANT: u32 = 0;
/// How often xenstored is tried while it is away; its socket gives no sign of its return.
const RETRY: Duration = Duration::from_millis(200);
/// Largest limit that xenstore may set for the bytes that wait for a reader.
const MOST_LIMIT: usize = 16 << 20;

/// All consoles.
pub(crate) struct Manager {
    hypervisor: Hypervisor,
    grants: Option<GrantDevice>,
    ports: Ports,
    log_dir: Option<PathBuf>,
    guests: BTreeMap<u16, Guest>,
}

/// A guest and its console.
struct Guest {
    terminal: String,
    orders: mpsc::UnboundedSender<Order>,
    /// Frame and port of the ring in use, as xenstore named them.
    ring: Option<(u64, u32)>,
    limit: usize,
    /// Reports changes of the guest's console directory; gone with the connection to xenstored.
    watching: Option<JoinHandle<()>>,
}

/// What the manager waits for.
enum Event {
    /// Guests may have come or gone.
    Domains,
    /// The console directory of a guest may have changed.
    Console(u16),
}

impl Manager {
    pub(crate) fn new(ports: Ports, log_dir: Option<PathBuf>) -> Result<Self> {
        let grants = GrantDevice::open();
        if let Err(error) = &grants {
            tracing::warn!("{error}; rings are mapped by their frames instead");
        }
        let hypervisor = Hypervisor::open()?;
        Ok(Self {
            hypervisor,
            grants: grants.ok(),
            ports,
            log_dir,
            guests: BTreeMap::new(),
        })
    }

    /// Runs until something fails that the daemon cannot do without.
    pub(crate) async fn run(mut self) -> Result<()> {
        loop {
            match Client::connect().await {
                Ok(store) => match self.serve(&store).await {
                    Ok(()) => tracing::warn!(
                        "xenstored closed the connection; waiting for it to come back"
                    ),
                    Err(error) => tracing::warn!("{error:#}; connecting to xenstored again"),
                },
                Err(error) => tracing::debug!("{error}"),
            }
            for guest in self.guests.values_mut() {
                guest.stop_watching();
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Serves with one connection to xenstored, until it breaks.
    async fn serve(&mut self, store: &Client) -> Result<()> {
        let (sender, mut events) = mpsc::unbounded_channel();
        let introduced = store.watch("@introduceDomain").await?;
        let released = store.watch("@releaseDomain").await?;
        let mut domains = report(introduced, sender.clone(), || Event::Domains);
        let _released = Aborted(report(released, sender.clone(), || Event::Domains));
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                // The connection broke.
                _ = &mut domains => return Ok(()),
            };
            match event {
                Some(Event::Domains) => self.find_guests(store, &sender).await?,
                Some(Event::Console(domain)) => self.look_at(store, domain).await?,
                None => return Ok(()),
            }
        }
    }

    /// Makes consoles for guests that are new, and ends those of guests that are gone.
    async fn find_guests(
        &mut self,
        store: &Client,
        sender: &mpsc::UnboundedSender<Event>,
    ) -> Result<()> {
        let domains = self
            .hypervisor
            .domains()
            .context("cannot ask for the domains")?;
        let living = domains
            .iter()
            .filter(|d| d.domain != DomId::DOM0 && !d.flags.contains(DomainFlags::DYING));
        let living: BTreeSet<u16> = living.map(|d| d.domain.0).collect();
        self.guests.retain(|domain, guest| {
            let lives = living.contains(domain);
            if !lives {
                guest.stop_watching();
                // The console ends by itself when it is not there any more to hear it.
                let _ = guest.orders.send(Order::End);
            }
            lives
        });
        for domain in living {
            if self
                .guests
                .get(&domain)
                .is_none_or(|g| g.watching.is_none())
            {
                let watch = store
                    .watch(&format!("/local/domain/{domain}/console"))
                    .await?;
                let task = report(watch, sender.clone(), move || Event::Console(domain));
                match self.guests.get_mut(&domain) {
                    Some(guest) => guest.watching = Some(task),
                    None => self.add_guest(store, domain, task).await,
                }
            }
        }
        Ok(())
    }

    async fn add_guest(&mut self, store: &Client, domain: u16, watching: JoinHandle<()>) {
        let name = store
            .read_string(&format!("/local/domain/{domain}/name"))
            .await;
        let name = name.unwrap_or_else(|_| domain.to_string());
        let log = self
            .log_dir
            .as_deref()
            .map(|dir| log_file::guest_log(dir, &name));
        let console = match Console::new(domain, log) {
            Ok(console) => console,
            Err(error) => {
                tracing::error!(domain, "no console: {error:#}");
                watching.abort();
                return;
            }
        };
        let terminal = console.terminal_name().to_owned();
        let (orders, receiver) = mpsc::unbounded_channel();
        tokio::spawn(console.run(receiver));
        tracing::info!(domain, name, terminal, "console");
        let guest = Guest {
            terminal,
            orders,
            ring: None,
            limit: DEFAULT_LIMIT,
            watching: Some(watching),
        };
        self.guests.insert(domain, guest);
    }

    /// Takes up what xenstore says of a guest's console.
    async fn look_at(&mut self, store: &Client, domain: u16) -> Result<()> {
        let node = |name: &str| format!("/local/domain/{domain}/console/{name}");
        let Some(guest) = self.guests.get_mut(&domain) else {
            return Ok(());
        };
        // Another program may be this console's daemon.
        let kind = store.read_optional(&node("type")).await?;
        if kind.is_some_and(|kind| kind != "xenconsoled") {
            return Ok(());
        }
        let limit = store
            .read_optional(&node("limit"))
            .await?
            .and_then(|text| text.parse().ok());
        let limit = limit.unwrap_or(DEFAULT_LIMIT).min(MOST_LIMIT);
        if guest.limit != limit {
            guest.limit = limit;
            let _ = guest.orders.send(Order::Limit(limit));
        }
        let frame = store
            .read_optional(&node("ring-ref"))
            .await?
            .and_then(|text| frame(&text));
        let port = store
            .read_optional(&node("port"))
            .await?
            .and_then(|text| text.parse().ok());
        let (Some(frame), Some(port)) = (frame, port) else {
            return Ok(());
        };
        if guest.ring != Some((frame, port)) {
            let page = map(&self.hypervisor, self.grants.as_ref(), DomId(domain), frame);
            let attached = page.and_then(|page| Ok((page, self.ports.bind(DomId(domain), port)?)));
            match attached {
                Ok((page, port_bound)) => {
                    guest.ring = Some((frame, port));
                    let _ = guest.orders.send(Order::Attach(page, port_bound));
                }
                Err(error) => {
                    tracing::warn!(domain, frame, port, "cannot attach its console: {error}")
                }
            }
        }
        // Last: who sees it can use it.
        publish(store, domain, &guest.terminal).await
    }
}

/// Names a guest's terminal in xenstore, unless the guest has gone meanwhile: a write to a path that was just removed
/// would make it anew, with nobody left to remove it. The transaction fails, and is tried again, if the ring's node goes
/// between the look and the commit.
async fn publish(store: &Client, domain: u16, terminal: &str) -> Result<()> {
    let node = |name: &str| format!("/local/domain/{domain}/console/{name}");
    let (ring, tty, limit) = (node("ring-ref"), node("tty"), node("limit"));
    if store.read_optional(&tty).await?.as_deref() == Some(terminal) {
        return Ok(());
    }
    store
        .transaction(async |change| {
            if change.read_optional(&ring).await?.is_none() {
                return Ok::<_, xenstore::Error>(());
            }
            change.write(&tty, terminal).await?;
            if change.read_optional(&limit).await?.is_none() {
                change.write(&limit, DEFAULT_LIMIT.to_string()).await?;
            }
            Ok(())
        })
        .await?;
    Ok(())
}

impl Guest {
    fn stop_watching(&mut self) {
        if let Some(task) = self.watching.take() {
            task.abort();
        }
    }
}

/// A task that ends with this.
struct Aborted(JoinHandle<()>);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Passes the events of a watch on.
fn report(
    mut watch: Watch,
    sender: mpsc::UnboundedSender<Event>,
    event: impl Fn() -> Event + Send + 'static,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        while watch.next().await.is_some() {
            if sender.send(event()).is_err() {
                return;
            }
        }
    })
}

/// The ring page of a guest, through its grant or, where there is none, by its frame.
fn map(
    hypervisor: &Hypervisor,
    grants: Option<&GrantDevice>,
    domain: DomId,
    frame: u64,
) -> hypercall::Result<Mapping> {
    match grants.map(|g| g.map(domain, &[GRANT], Protection::ReadWrite)) {
        Some(Ok(mapping)) => Ok(mapping),
        _ => hypervisor.map_foreign(domain, &[frame], Protection::ReadWrite),
    }
}

/// A frame number, which some toolstacks write as the negative number that a signed long makes of it.
fn frame(text: &str) -> Option<u64> {
    text.parse()
        .ok()
        .or_else(|| text.parse::<i64>().ok().map(i64::cast_unsigned))
}
