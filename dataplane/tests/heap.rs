//! Buffers that nobody has written to take no memory. A process of its own: other tests would change what is resident.
#![expect(clippy::disallowed_methods, reason = "a test may look at /proc")]

use tidegate_dataplane::io::heap::map_large_blocks;

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_buffer_takes_what_was_written_to() {
    assert!(map_large_blocks());
    let before = resident_kib();
    let mut buffers: Vec<Vec<u8>> = (0..1000).map(|_| vec![0; 64 << 10]).collect();
    let empty = resident_kib() - before;
    // The allocator's own header is on the first page.
    assert!(empty < 1000 * 8, "{empty} KiB for 64,000 KiB that were not touched");
    buffers.iter_mut().for_each(|buffer| buffer.fill(1));
    assert!(resident_kib() - before > 60_000);
    // Something small stays behind each of them, as the task of a connection does behind its buffers.
    let kept: Vec<Box<u64>> = buffers.drain(..).map(|buffer| Box::new(buffer.len() as u64)).collect();
    let after = resident_kib() - before;
    assert!(after < 2_000, "{after} KiB after all were freed but {} small ones", kept.len());
}
