//! Requests against the logic, with domains that exist only here.

use std::collections::BTreeMap;

use xenstore::wire::Decoder;
use xenstore::{ErrorCode, Message, MessageType};

use super::quota::Limits;
use super::state::Saved;
use super::{ConnectionId, DomainState, Logic, Peer, Platform};

#[derive(Default)]
struct Fake {
    states: BTreeMap<u16, DomainState>,
    attached: BTreeMap<u16, (u64, u32)>,
}

impl Platform for Fake {
    fn attach(&mut self, domain: u16, frame: u64, port: u32) -> Result<(), ErrorCode> {
        self.attached.insert(domain, (frame, port));
        Ok(())
    }

    fn detach(&mut self, domain: u16) {
        self.attached.remove(&domain);
    }

    fn state(&mut self, domain: u16) -> DomainState {
        self.states
            .get(&domain)
            .copied()
            .unwrap_or(DomainState::Gone)
    }
}

/// A store with dom0's tools connected.
struct Bench {
    logic: Logic,
    fake: Fake,
    dom0: ConnectionId,
    /// Events that came with answers, as "connection path token".
    events: Vec<String>,
}

impl Bench {
    fn new() -> Self {
        let mut logic = Logic::new(Limits::default());
        let dom0 = logic.connect(Peer::Socket { writes: true });
        Self {
            logic,
            fake: Fake::default(),
            dom0,
            events: Vec::new(),
        }
    }

    /// Introduces a domain with a directory of its own.
    fn domain(&mut self, id: u16) -> ConnectionId {
        self.fake.states.insert(id, DomainState::Alive);
        let home = format!("/local/domain/{id}");
        self.ok(self.dom0, 0, MessageType::MakeDirectory, &[&home]);
        self.ok(
            self.dom0,
            0,
            MessageType::SetPermissions,
            &[&home, &format!("n{id}")],
        );
        self.ok(
            self.dom0,
            0,
            MessageType::Introduce,
            &[&id.to_string(), "1234", "5"],
        );
        self.logic.connection_of(id).unwrap()
    }

    fn raw(
        &mut self,
        id: ConnectionId,
        transaction: u32,
        kind: MessageType,
        payload: &[u8],
    ) -> Message {
        let message = Message {
            kind: kind.number(),
            request: 77,
            transaction,
            payload: payload.to_vec(),
        };
        self.logic.handle(id, message, &mut self.fake);
        let mut reply = None;
        for to in self.logic.take_fresh() {
            while let Some(bytes) = self.logic.next_output(to) {
                let message = Decoder::default().push(&bytes).unwrap().unwrap();
                if message.kind == MessageType::WatchEvent.number() {
                    let text = String::from_utf8(message.payload).unwrap();
                    let (path, token) = text.split_once('\0').unwrap();
                    self.events
                        .push(format!("{} {path} {}", to.0, token.trim_end_matches('\0')));
                } else {
                    assert_eq!(
                        (to, message.request, message.transaction),
                        (id, 77, transaction)
                    );
                    assert!(reply.replace(message).is_none(), "two answers");
                }
            }
        }
        reply.expect("an answer")
    }

    fn ask(
        &mut self,
        id: ConnectionId,
        tx: u32,
        kind: MessageType,
        strings: &[&str],
    ) -> Result<Vec<u8>, String> {
        let payload: Vec<u8> = strings
            .iter()
            .flat_map(|s| format!("{s}\0").into_bytes())
            .collect();
        let reply = self.raw(id, tx, kind, &payload);
        if reply.kind == MessageType::Error.number() {
            return Err(String::from_utf8(reply.payload)
                .unwrap()
                .trim_end_matches('\0')
                .to_owned());
        }
        assert_eq!(reply.kind, kind.number());
        Ok(reply.payload)
    }

    fn ok(&mut self, id: ConnectionId, tx: u32, kind: MessageType, strings: &[&str]) -> String {
        let payload = self.ask(id, tx, kind, strings).unwrap();
        String::from_utf8(payload)
            .unwrap()
            .trim_end_matches('\0')
            .to_owned()
    }

    fn write(&mut self, id: ConnectionId, tx: u32, path: &str, value: &str) -> Result<(), String> {
        let payload = format!("{path}\0{value}");
        let reply = self.raw(id, tx, MessageType::Write, payload.as_bytes());
        if reply.kind == MessageType::Error.number() {
            return Err(String::from_utf8(reply.payload)
                .unwrap()
                .trim_end_matches('\0')
                .to_owned());
        }
        Ok(())
    }

    fn events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events)
    }
}

use MessageType as M;

#[test]
fn values_are_written_and_read() {
    let mut b = Bench::new();
    let dom0 = b.dom0;
    b.write(dom0, 0, "/a/b", "value").unwrap();
    assert_eq!(b.ok(dom0, 0, M::Read, &["/a/b"]), "value");
    assert_eq!(b.ok(dom0, 0, M::Directory, &["/a"]), "b");
    assert_eq!(
        b.ok(dom0, 0, M::Read, &["/local/domain/0/name"]),
        "Domain-0"
    );
    assert_eq!(
        b.ok(dom0, 0, M::Read, &["name"]),
        "Domain-0",
        "relative to /local/domain/0"
    );
    assert_eq!(b.ask(dom0, 0, M::Read, &["/nope"]), Err("ENOENT".into()));
    assert_eq!(b.ask(dom0, 0, M::Remove, &["/"]), Err("EINVAL".into()));
    assert_eq!(b.ask(dom0, 0, M::Remove, &["/x/y/z"]), Err("ENOENT".into()));
    b.ok(dom0, 0, M::Remove, &["/x"]);
    b.ok(dom0, 0, M::Remove, &["/a"]);
    assert_eq!(b.ask(dom0, 0, M::Read, &["/a/b"]), Err("ENOENT".into()));
}

#[test]
fn malformed_requests_are_refused() {
    let mut b = Bench::new();
    let dom0 = b.dom0;
    for (kind, payload) in [
        (M::Read, &b"/a"[..]),
        (M::Read, b""),
        (M::Read, b"\0"),
        (M::Read, b"/a\0/b\0"),
        (M::Read, b"/\xff\0"),
        (M::Write, b"/a"),
        (M::Watch, b"/a\0token"),
        (M::Watch, b"@other\0token\0"),
        (M::SetPermissions, b"/\0"),
        (M::SetPermissions, b"/\0z0\0"),
        (M::TransactionEnd, b"X\0"),
        (M::Introduce, b"1\0"),
        (M::Introduce, b"0\x001\x001\0"),
        (M::Introduce, b"-1\x001\x001\0"),
        (M::DirectoryPart, b"/\0-1\0"),
        (M::Control, b"nonsense\0"),
    ] {
        let reply = b.raw(dom0, 0, kind, payload);
        assert_eq!(reply.kind, M::Error.number(), "{kind:?} {payload:?}");
        assert_eq!(reply.payload, b"EINVAL\0", "{kind:?} {payload:?}");
    }
    assert_eq!(
        b.raw(dom0, 9, M::Read, b"/\0").payload,
        b"ENOENT\0",
        "no such transaction"
    );
    let message = Message {
        kind: 4711,
        request: 1,
        transaction: 0,
        payload: vec![],
    };
    b.logic.handle(dom0, message, &mut b.fake);
    assert!(b.logic.next_output(dom0).unwrap().ends_with(b"ENOSYS\0"));
}

#[test]
fn guests_keep_to_what_is_theirs() {
    let mut b = Bench::new();
    let dom0 = b.dom0;
    let (five, six) = (b.domain(5), b.domain(6));
    b.write(five, 0, "data/x", "1").unwrap();
    assert_eq!(b.ok(dom0, 0, M::Read, &["/local/domain/5/data/x"]), "1");
    assert_eq!(
        b.ok(dom0, 0, M::GetPermissions, &["/local/domain/5/data/x"]),
        "n5"
    );
    assert_eq!(
        b.ask(six, 0, M::Read, &["/local/domain/5/data/x"]),
        Err("EACCES".into())
    );
    assert_eq!(
        b.ask(six, 0, M::Read, &["/local/domain/5/data/nothing"]),
        Err("EACCES".into())
    );
    assert_eq!(
        b.write(six, 0, "/local/domain/5/data/y", "1"),
        Err("EACCES".into())
    );
    assert_eq!(b.write(six, 0, "/top", "1"), Err("EACCES".into()));
    assert_eq!(
        b.ask(six, 0, M::Remove, &["/local/domain/5"]),
        Err("EACCES".into())
    );
    b.ok(five, 0, M::SetPermissions, &["data/x", "n5", "r6"]);
    assert_eq!(b.ok(six, 0, M::Read, &["/local/domain/5/data/x"]), "1");
    assert_eq!(
        b.ask(six, 0, M::SetPermissions, &["/local/domain/5/data/x", "n6"]),
        Err("EACCES".into())
    );
    assert_eq!(
        b.ask(five, 0, M::SetPermissions, &["data/x", "n6"]),
        Err("EPERM".into()),
        "gives it away"
    );
    for kind in [
        M::Introduce,
        M::Release,
        M::SetTarget,
        M::Resume,
        M::Control,
    ] {
        assert_eq!(
            b.ask(five, 0, kind, &["5"]),
            Err("EACCES".into()),
            "{kind:?}"
        );
    }
}

#[test]
fn read_only_sockets_change_nothing() {
    let mut b = Bench::new();
    let reader = b.logic.connect(Peer::Socket { writes: false });
    assert_eq!(b.ok(reader, 0, M::Read, &["/local/domain/0/domid"]), "0");
    assert_eq!(b.write(reader, 0, "/a", "1"), Err("EROFS".into()));
    assert_eq!(
        b.ask(reader, 0, M::Introduce, &["1", "2", "3"]),
        Err("EROFS".into())
    );
}

#[test]
fn watches_fire_for_what_the_watcher_may_see() {
    let mut b = Bench::new();
    let dom0 = b.dom0;
    let (five, six) = (b.domain(5), b.domain(6));
    b.events();
    b.ok(five, 0, M::Watch, &["data", "t"]);
    b.ok(six, 0, M::Watch, &["/local/domain", "all"]);
    b.ok(dom0, 0, M::Watch, &["/local/domain/5", "d"]);
    let first = [
        format!("{} data t", five.0),
        format!("{} /local/domain all", six.0),
        format!("{} /local/domain/5 d", dom0.0),
    ];
    assert_eq!(b.events(), first);
    assert_eq!(
        b.ask(five, 0, M::Watch, &["data", "t"]),
        Err("EEXIST".into())
    );
    b.write(five, 0, "data/x", "1").unwrap();
    let mut events = b.events();
    events.sort();
    let mut expected = [
        format!("{} data/x t", five.0),
        format!("{} /local/domain/5/data/x d", dom0.0),
    ];
    expected.sort();
    assert_eq!(events, expected, "six may not see it");
    b.ok(five, 0, M::Watch, &["data/x", "deep"]);
    b.events();
    b.ok(dom0, 0, M::Remove, &["/local/domain/5/data"]);
    let events = b.events();
    assert!(events.contains(&format!("{} data t", five.0)), "{events:?}");
    assert!(
        events.contains(&format!("{} data/x deep", five.0)),
        "{events:?}"
    );
    b.ok(five, 0, M::Unwatch, &["data", "t"]);
    assert_eq!(
        b.ask(five, 0, M::Unwatch, &["data", "t"]),
        Err("ENOENT".into())
    );
    b.ok(five, 0, M::ResetWatches, &[""]);
    b.events();
    b.write(five, 0, "data", "2").unwrap();
    assert_eq!(b.events(), [format!("{} /local/domain/5/data d", dom0.0)]);
}

#[test]
fn a_transaction_is_all_or_nothing() {
    let mut b = Bench::new();
    let dom0 = b.dom0;
    let other = b.logic.connect(Peer::Socket { writes: true });
    b.ok(other, 0, M::Watch, &["/t", "w"]);
    b.events();
    let tx: u32 = b.ok(dom0, 0, M::TransactionStart, &[""]).parse().unwrap();
    b.write(dom0, tx, "/t/a", "1").unwrap();
    b.write(dom0, tx, "/t/b", "2").unwrap();
    assert_eq!(b.ask(other, 0, M::Read, &["/t/a"]), Err("ENOENT".into()));
    assert_eq!(b.ok(dom0, tx, M::Read, &["/t/a"]), "1");
    assert!(b.events().is_empty());
    b.ok(dom0, tx, M::TransactionEnd, &["T"]);
    assert_eq!(
        b.events(),
        [format!("{} /t/a w", other.0), format!("{} /t/b w", other.0)]
    );

    let tx: u32 = b.ok(dom0, 0, M::TransactionStart, &[""]).parse().unwrap();
    b.ok(dom0, tx, M::Read, &["/t/a"]);
    b.write(dom0, tx, "/t/c", "3").unwrap();
    b.write(other, 0, "/t/a", "changed").unwrap();
    assert_eq!(
        b.ask(dom0, tx, M::TransactionEnd, &["T"]),
        Err("EAGAIN".into())
    );
    assert_eq!(b.ask(dom0, 0, M::Read, &["/t/c"]), Err("ENOENT".into()));
    assert_eq!(
        b.ask(dom0, tx, M::TransactionEnd, &["T"]),
        Err("ENOENT".into()),
        "it is over"
    );
    assert_eq!(
        b.ask(other, tx, M::Read, &["/t"]),
        Err("ENOENT".into()),
        "another's transaction"
    );
}

/// The console daemon names a guest's terminal just as the toolstack removes the guest: the guest must stay removed.
#[test]
fn what_was_removed_meanwhile_is_not_made_anew() {
    let mut b = Bench::new();
    let (xend, consoled) = (b.dom0, b.logic.connect(Peer::Socket { writes: true }));
    let console = "/local/domain/17/console";
    b.write(xend, 0, &format!("{console}/ring-ref"), "99")
        .unwrap();
    let tx: u32 = b
        .ok(consoled, 0, M::TransactionStart, &[""])
        .parse()
        .unwrap();
    assert_eq!(
        b.ok(consoled, tx, M::Read, &[&format!("{console}/ring-ref")]),
        "99"
    );
    b.write(consoled, tx, &format!("{console}/tty"), "/dev/pts/0")
        .unwrap();
    b.ok(xend, 0, M::Remove, &["/local/domain/17"]);
    assert_eq!(
        b.ask(consoled, tx, M::TransactionEnd, &["T"]),
        Err("EAGAIN".into())
    );
    assert_eq!(
        b.ask(xend, 0, M::Read, &["/local/domain/17"]),
        Err("ENOENT".into())
    );
}

#[test]
fn quotas_hold_for_guests() {
    let mut b = Bench::new();
    let five = b.domain(5);
    assert_eq!(
        b.write(five, 0, "big", &"x".repeat(2049)),
        Err("ENOSPC".into())
    );
    let mut made = 0;
    while b.write(five, 0, &format!("n{made}"), "").is_ok() {
        made += 1;
        assert!(made < 2000);
    }
    assert_eq!(made, 999, "with its directory that is 1000 nodes");
    assert_eq!(
        b.ask(five, 0, M::MakeDirectory, &["one-more"]),
        Err("ENOSPC".into())
    );
    let dom0 = b.dom0;
    b.ok(dom0, 0, M::Remove, &["/local/domain/5/n0"]);
    b.write(five, 0, "again", "").unwrap();
    for n in 0..128 {
        b.ok(five, 0, M::Watch, &["x", &n.to_string()]);
    }
    assert_eq!(
        b.ask(five, 0, M::Watch, &["x", "more"]),
        Err("E2BIG".into())
    );
    for _ in 0..10 {
        b.ok(five, 0, M::TransactionStart, &[""]);
    }
    assert_eq!(
        b.ask(five, 0, M::TransactionStart, &[""]),
        Err("ENOSPC".into())
    );
    assert_eq!(b.ok(dom0, 0, M::Control, &["check"]), "OK");
}

#[test]
fn a_transaction_of_a_guest_cannot_grow_without_end() {
    let mut b = Bench::new();
    let five = b.domain(5);
    let tx: u32 = b.ok(five, 0, M::TransactionStart, &[""]).parse().unwrap();
    let refused =
        (0..5000).find(|n| b.ask(five, tx, M::Read, &[&format!("n{n}")]) == Err("ENOSPC".into()));
    assert!(refused.is_some());
}

#[test]
fn long_directories_come_in_parts() {
    let mut b = Bench::new();
    let dom0 = b.dom0;
    let names: Vec<String> = (0..400).map(|n| format!("child-number-{n:05}")).collect();
    for name in &names {
        b.write(dom0, 0, &format!("/many/{name}"), "").unwrap();
    }
    assert_eq!(
        b.ask(dom0, 0, M::Directory, &["/many"]),
        Err("E2BIG".into())
    );
    let mut all = Vec::new();
    loop {
        let part = b
            .ask(
                dom0,
                0,
                M::DirectoryPart,
                &["/many", &all.len().to_string()],
            )
            .unwrap();
        assert!(part.len() <= 4096);
        let at = part.iter().position(|&c| c == 0).unwrap() + 1;
        let rest = &part[at..];
        all.extend_from_slice(rest);
        if rest == b"\0" || rest.ends_with(b"\0\0") {
            break;
        }
    }
    let got: Vec<&str> = core::str::from_utf8(&all)
        .unwrap()
        .split('\0')
        .filter(|s| !s.is_empty())
        .collect();
    assert_eq!(got, names);
}

#[test]
fn domains_come_and_go() {
    let mut b = Bench::new();
    let dom0 = b.dom0;
    b.ok(dom0, 0, M::Watch, &["@introduceDomain", "i"]);
    b.ok(dom0, 0, M::Watch, &["@releaseDomain", "r"]);
    b.events();
    assert_eq!(
        b.ask(dom0, 0, M::Introduce, &["5", "1", "1"]),
        Err("EINVAL".into()),
        "no such domain"
    );
    let five = b.domain(5);
    assert_eq!(b.events(), [format!("{} @introduceDomain i", dom0.0)]);
    assert_eq!(b.fake.attached.get(&5), Some(&(1234, 5)));
    assert_eq!(b.ok(dom0, 0, M::IsDomainIntroduced, &["5"]), "T");
    assert_eq!(b.ok(dom0, 0, M::IsDomainIntroduced, &["9"]), "F");
    assert_eq!(b.ok(dom0, 0, M::GetDomainPath, &["5"]), "/local/domain/5");
    b.write(five, 0, "mine", "").unwrap();
    b.ok(dom0, 0, M::SetPermissions, &["/tool", "n0", "r5"]);

    b.fake.states.insert(5, DomainState::ShutDown);
    for _ in 0..2 {
        b.logic.domains_changed(&mut b.fake);
    }
    b.fake.states.insert(5, DomainState::Gone);
    b.logic.domains_changed(&mut b.fake);
    assert!(b.fake.attached.is_empty());
    assert_eq!(b.ok(dom0, 0, M::IsDomainIntroduced, &["5"]), "F");
    assert_eq!(
        b.events(),
        vec![format!("{} @releaseDomain r", dom0.0); 1],
        "one is waiting, more are the same"
    );
    assert_eq!(
        b.ok(dom0, 0, M::GetPermissions, &["/local/domain/5/mine"]),
        "n0",
        "its id may come again"
    );
    assert_eq!(b.ok(dom0, 0, M::GetPermissions, &["/tool"]), "n0");
    assert_eq!(b.ask(dom0, 0, M::Release, &["5"]), Err("ENOENT".into()));
}

#[test]
fn a_target_s_rights_are_lent() {
    let mut b = Bench::new();
    let dom0 = b.dom0;
    let (_, eight) = (b.domain(5), b.domain(8));
    assert_eq!(
        b.write(eight, 0, "/local/domain/5/x", ""),
        Err("EACCES".into())
    );
    b.ok(dom0, 0, M::SetTarget, &["8", "5"]);
    b.write(eight, 0, "/local/domain/5/x", "").unwrap();
    b.ok(dom0, 0, M::Release, &["5"]);
    assert_eq!(
        b.write(eight, 0, "/local/domain/5/y", ""),
        Err("EACCES".into())
    );
}

#[test]
fn the_same_event_waits_once() {
    let mut b = Bench::new();
    let dom0 = b.dom0;
    let watcher = b.logic.connect(Peer::Socket { writes: true });
    b.ok(watcher, 0, M::Watch, &["/w", "t"]);
    for value in 0..10 {
        let payload = format!("/w\0{value}").into_bytes();
        let message = Message {
            kind: M::Write.number(),
            request: 1,
            transaction: 0,
            payload,
        };
        b.logic.handle(dom0, message, &mut b.fake);
    }
    assert!(b.logic.next_output(watcher).is_some());
    assert!(b.logic.next_output(watcher).is_none());
}

#[test]
fn who_does_not_take_answers_is_not_asked_for_more() {
    let mut b = Bench::new();
    let five = b.domain(5);
    let mut asked = 0;
    while b.logic.may_ask(five) {
        let message = Message {
            kind: M::Read.number(),
            request: 1,
            transaction: 0,
            payload: b"x\0".to_vec(),
        };
        b.logic.handle(five, message, &mut b.fake);
        asked += 1;
        assert!(asked < 1000);
    }
    assert_eq!(asked, Limits::default().outstanding);
    b.logic.next_output(five);
    assert!(b.logic.may_ask(five));
}

#[test]
fn a_saved_state_comes_back() {
    let mut b = Bench::new();
    let dom0 = b.dom0;
    let five = b.domain(5);
    b.write(five, 0, "bytes", "caf\u{e9}\u{1}").unwrap();
    b.ok(five, 0, M::Watch, &["bytes", "t"]);
    b.ok(dom0, 0, M::SetPermissions, &["@releaseDomain", "n0", "r5"]);
    let tx: u32 = b.ok(five, 0, M::TransactionStart, &[""]).parse().unwrap();
    let event = Message {
        kind: M::Write.number(),
        request: 1,
        transaction: 0,
        payload: b"bytes\0new\xff".to_vec(),
    };
    b.logic.handle(five, event, &mut b.fake);
    let saved = b.logic.save(None, |id| {
        if id == five {
            (b"in".to_vec(), b"out".to_vec())
        } else {
            Default::default()
        }
    });
    let text = serde_json::to_vec(&saved).unwrap();

    let saved: Saved = serde_json::from_slice(&text).unwrap();
    let mut logic = Logic::restore(Limits::default(), &saved).unwrap();
    let [domain] = saved.domains.as_slice() else {
        panic!("one domain")
    };
    assert_eq!(domain.input.bytes(), b"in");
    assert!(
        domain.output.bytes().starts_with(b"out"),
        "and the answer and the event after it"
    );
    assert!(domain.output.bytes().ends_with(b"bytes\0t\0"));
    let five = logic.restore_domain(domain);
    let dom0 = logic.connect(Peer::Socket { writes: true });
    let mut b = Bench {
        logic,
        fake: b.fake,
        dom0,
        events: Vec::new(),
    };
    assert_eq!(
        b.ask(dom0, 0, M::Read, &["/local/domain/5/bytes"]).unwrap(),
        b"new\xff"
    );
    assert_eq!(
        b.ok(dom0, 0, M::GetPermissions, &["/local/domain/5/bytes"]),
        "n5"
    );
    assert_eq!(
        b.ok(dom0, 0, M::GetPermissions, &["@releaseDomain"]),
        "n0\0r5"
    );
    b.write(dom0, 0, "/local/domain/5/bytes", "x").unwrap();
    assert_eq!(b.events(), [format!("{} bytes t", five.0)]);
    assert_eq!(
        b.ask(five, tx, M::TransactionEnd, &["T"]),
        Err("EAGAIN".into())
    );
    assert_eq!(b.ok(dom0, 0, M::Control, &["check"]), "OK");
}
