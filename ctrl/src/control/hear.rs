//! What the cores have noticed since the loop last looked.

use std::sync::Arc;
use std::time::SystemTime;

use tidegate_dataplane::worker::handover::Notice;

use super::Control;

impl Control {
    pub(super) fn hear(&mut self) {
        for notice in self.parts.cores.notices() {
            match notice {
                Notice::Conflict(conflict) => {
                    Arc::make_mut(&mut self.disputes).note(&conflict, SystemTime::now());
                    self.parts.reloader.conflict(conflict);
                }
                Notice::Disagreement(disagreement) => self.parts.reloader.disagreement(disagreement),
            }
        }
        self.quiet.look(self.parts.reloader.publication().tables().l3.link());
    }
}
