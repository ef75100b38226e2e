//! Finds libdpdk with pkg-config, generates the allow-listed bindings, and compiles DPDK's inline functions, which have
//! no symbol in any library, into a small object of wrappers.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods)] // A build script talks with cargo; no packet passes here.

use std::{env, path::PathBuf, process::exit};

/// Everything Tidegate calls. Keep it in the order of use: start, devices, queues, bursts, buffers.
const FUNCTIONS: &[&str] = &[
    "rte_strerror",
    "tidegate_rte_errno",
    "rte_eal_init",
    "rte_thread_register",
    "rte_thread_unregister",
    "rte_lcore_id",
    "rte_socket_id",
    "rte_dev_probe",
    "rte_dev_remove",
    "rte_eth_dev_get_port_by_name",
    "rte_eth_dev_socket_id",
    "rte_eth_dev_info_get",
    "rte_eth_dev_configure",
    "rte_eth_dev_adjust_nb_rx_tx_desc",
    "rte_eth_rx_queue_setup",
    "rte_eth_tx_queue_setup",
    "rte_eth_dev_set_mtu",
    "rte_eth_dev_start",
    "rte_eth_dev_stop",
    "rte_eth_dev_close",
    "rte_eth_macaddr_get",
    "rte_eth_dev_default_mac_addr_set",
    "rte_eth_link_get_nowait",
    "rte_eth_promiscuous_enable",
    "rte_eth_allmulticast_enable",
    "rte_eth_stats_get",
    "rte_eth_rx_burst",
    "rte_eth_tx_burst",
    "rte_pktmbuf_pool_create",
    "rte_pktmbuf_alloc_bulk",
    "rte_pktmbuf_free",
    "rte_pktmbuf_free_bulk",
];

/// Constants that are plain macros or enum values in DPDK's headers; `TIDEGATE_*` are spelled out in `wrapper.h`.
const CONSTANTS: &[&str] = &[
    "TIDEGATE_.*",
    "RTE_PKTMBUF_HEADROOM",
    "RTE_ETHER_HDR_LEN",
    "RTE_ETHER_CRC_LEN",
    "RTE_ETH_LINK_UP",
    "RTE_ETH_SPEED_NUM_UNKNOWN",
    "SOCKET_ID_ANY",
    "LCORE_ID_ANY",
];

/// Types that nothing above needs in detail. The packed-inside-aligned headers cannot be written in Rust at all.
const OPAQUE: &[&str] = &[
    "rte_arp_hdr",
    "rte_arp_ipv4",
    "rte_l2tpv2_combined_msg_hdr",
    "rte_gtp_psc_generic_hdr",
    "rte_mempool",
    "rte_device",
    "rte_mbuf_sched",
    "rte_mbuf_ext_shared_info",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=wrapper.h");
    let dpdk = match pkg_config::Config::new().range_version("22.11".."24").probe("libdpdk") {
        Ok(library) => library,
        Err(cause) => {
            eprintln!(
                "error: the `dpdk` feature needs DPDK (22.11, 23.11) with its headers, and pkg-config did not find it.\n\n\
                 Debian, Ubuntu:  apt install libdpdk-dev dpdk libclang-dev pkg-config\n\
                 own build:       set PKG_CONFIG_PATH to the folder that holds libdpdk.pc\n\
                 without DPDK:    cargo build --no-default-features\n\n\
                 pkg-config said: {cause}"
            );
            exit(1);
        }
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let wrappers = out.join("inlines");

    let mut flags: Vec<String> = dpdk.include_paths.iter().map(|path| format!("-I{}", path.display())).collect();
    // libdpdk.pc asks for both, and pkg-config's crate keeps only include paths and definitions. The headers use SSSE3
    // intrinsics, so x86 needs a baseline above the default; DPDK's own minimum is Nehalem (corei7).
    flags.extend(["-include".to_owned(), "rte_config.h".to_owned()]);
    if env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("x86_64") {
        flags.push("-march=corei7".to_owned());
    }
    generate(&flags, &out, &wrappers);

    let mut inlines = cc::Build::new();
    inlines.file(wrappers.with_extension("c")).include(env!("CARGO_MANIFEST_DIR")).opt_level(3).warnings(false);
    for flag in &flags {
        inlines.flag(flag);
    }
    inlines.compile("tidegate_dpdk_inlines");
}

fn generate(flags: &[String], out: &std::path::Path, wrappers: &std::path::Path) {
    let mut builder = bindgen::Builder::default()
        .header("wrapper.h")
        .clang_args(flags)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .default_enum_style(bindgen::EnumVariation::ModuleConsts)
        .derive_default(true)
        .layout_tests(true)
        .generate_comments(false)
        .wrap_static_fns(true)
        .wrap_static_fns_path(wrappers);
    for function in FUNCTIONS {
        builder = builder.allowlist_function(function);
    }
    for constant in CONSTANTS {
        builder = builder.allowlist_var(constant);
    }
    for opaque in OPAQUE {
        builder = builder.opaque_type(opaque);
    }
    let bindings = match builder.generate() {
        Ok(bindings) => bindings,
        Err(cause) => {
            eprintln!("error: bindgen could not read DPDK's headers (is libclang-dev installed?): {cause}");
            exit(1);
        }
    };
    bindings.write_to_file(out.join("bindings.rs")).expect("OUT_DIR is writable");
}
