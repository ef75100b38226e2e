//! A packet that does not exist is told what would become of it, then it comes.

use core::time::Duration;

use tidegate_dataplane::{
    io::park::Waker,
    meta::PortId,
    see::order::{Letter, Order, Rehearsal},
    verdict::{DropReason, Verdict},
};

use crate::{
    frames::{end, next, sound},
    gateway::Gateway,
    pieces,
};

/// Frames of any kind, each asked about before it comes: the question changes nothing, and the answer is what happens.
pub fn explain(data: &[u8]) {
    let mut gateway = Gateway::new();
    let waker = std::sync::Arc::new(Waker::new().expect("a descriptor"));
    for (number, (what, piece)) in pieces(data, 8).enumerate() {
        let (port, frame) = next(&mut gateway, what, piece);
        gateway.now += Duration::from_millis(100);
        // What is due by now would happen between the question and the packet.
        gateway.settle();
        let told = ask(&mut gateway, &waker, number as u64, port, &frame);
        let before = drops(&gateway);
        let arrived = gateway.worker.arena().copy_from(&frame).expect("a frame");
        gateway.wires[port].0.borrow_mut().push(arrived);
        let sent = gateway.settle();
        sent.iter().for_each(|(_, sent)| sound(sent));
        let lost = |reason: DropReason| drops(&gateway)[reason as usize] > before[reason as usize];
        match told {
            Verdict::Drop(reason) => assert!(lost(reason), "told {reason}, which was not counted"),
            Verdict::Transmit(out) => {
                assert!(
                    sent.iter().any(|(port, _)| *port == out.index()),
                    "told that it goes out of {out:?}: {sent:?}"
                );
            }
            Verdict::Deliver | Verdict::Consumed | Verdict::Taken => {}
            Verdict::Continue | Verdict::Bridge => panic!("a way without an end"),
        }
    }
    end(&mut gateway);
}

/// What the worker says would become of a frame; it sends nothing, and counts and keeps nothing.
fn ask(gateway: &mut Gateway, waker: &std::sync::Arc<Waker>, number: u64, port: usize, frame: &[u8]) -> Verdict {
    let rehearsal = Rehearsal::new(frame.to_vec(), PortId(port as u16), (0, 1), 3, waker);
    let letter = Letter { number, order: Order::Rehearse(Box::new(rehearsal)) };
    let (before, free) = (drops(gateway), gateway.worker.arena().available());
    gateway.line.send(letter).expect("nothing else is under way");
    let sent = gateway.settle();
    let answer = gateway.line.receive().expect("an answer in the same turn");
    assert_eq!(
        (sent, drops(gateway), gateway.worker.arena().available()),
        (vec![], before, free),
        "a question changed something"
    );
    let Order::Rehearse(rehearsal) = answer.order else { panic!("another order") };
    rehearsal.record.verdict
}

fn drops(gateway: &Gateway) -> Vec<u64> {
    DropReason::ALL.iter().map(|reason| gateway.worker.stats().drops(*reason).value()).collect()
}
