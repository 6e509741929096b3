//! What a starting xend finds of an earlier one.

use std::sync::Arc;

use super::Manager;
use super::record::Stage;
use crate::error::Result;

impl Manager {
    /// Clears up what an earlier xend was killed over, and takes note of the domains that run on.
    /// Domains that ended meanwhile are dealt with by the first look of the watch.
    pub(crate) async fn recover(self: &Arc<Self>) -> Result<()> {
        let infos = self.infos()?;
        for uuid in self.records.all() {
            let Some(record) = self.records.read(uuid) else {
                self.records.remove(uuid);
                continue;
            };
            let name = &record.config.name;
            let info = infos.iter().find(|i| i.handle == *uuid.as_bytes());
            match (info, record.stage) {
                (Some(info), Stage::Building) => {
                    tracing::warn!("'{name}' was being started when xend ended: removing it");
                    self.clear(info.domain, uuid).await;
                }
                (None, Stage::Building) => self.records.remove(uuid),
                (Some(info), Stage::Complete(_)) => {
                    tracing::info!("domain {} ('{name}') runs on", info.domain);
                }
                (None, Stage::Complete(_)) => {}
            }
        }
        Ok(())
    }
}
