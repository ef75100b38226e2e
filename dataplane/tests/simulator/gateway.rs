//! The gateway's application: the product's.

use std::sync::Arc;

use tidegate_dataplane::l7::{
    app::Host,
    gateway::{Gateway, GatewaySpec},
    metrics::HttpStats,
};

/// The gateway on one core, its counters, and what decides its request identifiers.
pub(crate) fn app(host: &Host, stats: &Arc<HttpStats>, seed: u64) -> Gateway {
    let spec = GatewaySpec { stats: Arc::clone(stats), access: None, unix_origin_ns: 1_700_000_000_000_000_000, seed };
    Gateway::new(host, spec)
}
