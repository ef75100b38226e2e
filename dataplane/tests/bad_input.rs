//! What no sender should send, through a whole worker: each frame of `tests/bad_input/corpus.txt` comes to the end it must come to,
//! its sender is told what the RFCs ask for and nothing else, no frame is lost, and traffic goes on.

mod gateway;

use core::time::Duration;

use gateway::{FRAMES, Gateway};
use tidegate_dataplane::verdict::DropReason;

const CORPUS: &str = include_str!("../../tests/bad_input/corpus.txt");
/// Our hardware addresses are 02:00:00:00:PP:01, those of the neighbours end in 02.
const GATEWAY: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SENDER: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// A line of the corpus.
struct Case {
    name: &'static str,
    end: &'static str,
    answer: &'static str,
    frames: Vec<Vec<u8>>,
}

fn corpus() -> impl Iterator<Item = Case> {
    CORPUS.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let fields: Vec<_> = line.split(" | ").collect();
        let [name, end, answer, frames] = fields[..] else { panic!("not a case: {line}") };
        Case { name, end, answer, frames: frames.split(' ').map(bytes).collect() }
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn drops(gateway: &Gateway) -> Vec<(&'static str, u64)> {
    DropReason::ALL.iter().map(|reason| (reason.label(), gateway.worker.stats().drops(*reason).value())).collect()
}

/// What became of a frame, in the words of the corpus: its end, and what was said about it. `most` is how many frames may come to an
/// end with it: fragments wait for one another.
fn judge(gateway: &mut Gateway, frame: &[u8], most: usize) -> (String, String) {
    let before = drops(gateway);
    let sent = gateway.receive(0, frame);
    let lost: Vec<_> = drops(gateway).into_iter().zip(before).filter(|(now, then)| now != then).collect();
    match &lost[..] {
        [] if sent.is_empty() => ("used".into(), "-".into()),
        [] if most > 1 && sent.len() > 1 && sent.iter().all(|(_, frame)| is_fragment(frame)) => {
            ("answered".into(), "-".into())
        }
        [] => {
            assert_eq!(sent.len(), 1, "one frame makes one frame");
            let passed = sent[0].1[26..] == frame[26..sent[0].1.len()] || sent[0].1[22..] == frame[22..sent[0].1.len()];
            (if passed { "forwarded" } else { "answered" }.into(), "-".into())
        }
        [((reason, now), (_, then))] => {
            assert!((1..=most as u64).contains(&(now - then)), "{reason} {} times", now - then);
            (reason.to_string(), if *reason == "address_conflict" { "-".into() } else { said(&sent) })
        }
        more => panic!("more than one end: {more:?}"),
    }
}

fn is_fragment(frame: &[u8]) -> bool {
    frame[12..14] == [8, 0] && (frame[20] & 0x3f, frame[21]) != (0, 0)
}

/// An answer to a lost frame, in the words of the corpus.
fn said(sent: &[(usize, Vec<u8>)]) -> String {
    let [(port, frame)] = sent else {
        assert!(sent.is_empty(), "at most one answer: {sent:02x?}");
        return "-".into();
    };
    assert_eq!((*port, &frame[..12]), (0, &[SENDER, GATEWAY].concat()[..]), "to its sender and nobody else");
    match (&frame[12..14], frame[14]) {
        ([8, 0], 0x45) if frame[23] == 6 => if frame[47] & 4 != 0 { "rst" } else { "tcp" }.into(),
        ([8, 0], first) => {
            assert_eq!((first, frame[23]), (0x45, 1));
            assert!(frame.len() <= 14 + 576, "RFC 1812 §4.3.2.3");
            let pointer = if frame[34] == 12 { format!("@{}", frame[38]) } else { String::new() };
            format!("icmp:{}/{}{pointer}", frame[34], frame[35])
        }
        _ => {
            assert_eq!((frame[14] >> 4, frame[20]), (6, 58));
            assert!(frame.len() <= 14 + 1280, "RFC 4443 §2.4 (c)");
            let pointer = if frame[54] == 4 {
                format!("@{}", u32::from_be_bytes(frame[58..62].try_into().unwrap()))
            } else {
                String::new()
            };
            format!("icmp6:{}/{}{pointer}", frame[54], frame[55])
        }
    }
}

#[test]
fn every_bad_frame_comes_to_its_end() {
    let mut gateway = Gateway::new();
    let good = corpus().find(|case| case.name == "a whole packet").expect("a packet that passes");
    let (mut wrong, mut frames) = (Vec::new(), 0);
    for case in corpus() {
        for (at, frame) in case.frames.iter().enumerate() {
            let (end, answer) = judge(&mut gateway, frame, at + 1);
            // A fragment waits for the others, and ends as the last of them does.
            let waits = case.name.contains("fragments") && at + 1 < case.frames.len() && end == "used";
            if !waits && (end.as_str(), answer.as_str()) != (case.end, case.answer) {
                wrong.push(format!(
                    "{} ({} bytes): {end} {answer}, not {} {}",
                    case.name,
                    frame.len(),
                    case.end,
                    case.answer
                ));
            }
            frames += 1;
        }
        assert_eq!(gateway.worker.arena().available(), FRAMES, "{}: every frame is home", case.name);
        assert_eq!(judge(&mut gateway, &good.frames[0], 1).0, "forwarded", "traffic goes on after: {}", case.name);
    }
    assert!(wrong.is_empty(), "{} of {frames}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(frames > 400, "the corpus is whole: {frames}");
}

/// All of it at once, and again, in batches of every size: no order of bad frames does more than each alone.
#[test]
fn a_flood_of_bad_frames_leaves_nothing_behind() {
    let mut gateway = Gateway::new();
    let all: Vec<Vec<u8>> = corpus().flat_map(|case| case.frames).collect();
    for round in 1..=70usize {
        for chunk in all.chunks(round) {
            for frame in chunk {
                let frame = gateway.worker.arena().copy_from(frame).unwrap();
                gateway.wires[0].0.borrow_mut().push(frame);
            }
            while gateway.worker.turn(gateway.now) {}
            gateway.wires.iter().for_each(|(_, out)| out.borrow_mut().clear());
        }
        gateway.now += Duration::from_secs(1);
    }
    // Half-open connections of the SYNs among them end by themselves.
    gateway.wait(Duration::from_secs(600));
    assert_eq!(gateway.worker.arena().available(), FRAMES);
    assert_eq!(gateway.worker.host().tcp.connections(), 0);
}
