//! What the cores have noticed since the loop last looked.

use std::sync::Arc;
use std::time::SystemTime;

use super::Control;

impl Control {
    pub(super) fn hear(&mut self) {
        for conflict in self.parts.cores.conflicts() {
            Arc::make_mut(&mut self.disputes).note(&conflict, SystemTime::now());
            self.parts.reloader.conflict(conflict);
        }
        self.quiet.look(self.parts.reloader.publication().tables().l3.link());
    }
}
