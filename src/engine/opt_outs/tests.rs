use std::{collections::BTreeSet, sync::Arc};

use dispatch_contract::{Channel, ChannelSender, Endpoint, OptOut, UnixMillis};

use super::*;
use crate::{
    contents::{ContentsKeeper, Family, MemoryKeys, newest_row_slot},
    engine::{Route, RouteTenants, account_id},
    shared::{engines::sms_route, plans},
    store::{MemoryStore, Store},
};

const NOW: UnixMillis = UnixMillis(1000);
const ACCOUNT: &str = "sandbox/main";
const US: &str = "447700900000";
const ANN: &str = "447700900001";
const BOB: &str = "447700900002";

fn settings() -> Arc<dyn Settings> {
    MemoryStore::new().settings()
}

fn open() -> OptOuts {
    over(&settings())
}

/// The list in these rows, as a start finds it.
fn over(settings: &Arc<dyn Settings>) -> OptOuts {
    OptOuts::open(Arc::clone(settings), plans::KEEPER.rows(Family::OptOut)).unwrap()
}

fn number(text: &str) -> Endpoint {
    Endpoint::Number(text.to_owned())
}

fn row(tenant: &str, sender: Option<&str>, recipient: &str) -> NewOptOut {
    NewOptOut {
        tenant: Arc::from(tenant),
        channel: Channel::SMS,
        sender: sender.map(str::to_owned),
        recipient: number(recipient),
        account: None,
        source: OptOutSource::Caller,
        create_time: NOW,
    }
}

fn stop(recipient: &str, is_lifted: bool) -> OptOut {
    let sender = ChannelSender { channel: Channel::SMS, id: US.to_owned() };
    OptOut { sender, recipient: number(recipient), is_lifted }
}

/// One route of [`ACCOUNT`], for these tenants.
fn routes(tenants: &[&str]) -> RouteTable {
    let only: BTreeSet<_> = tenants.iter().map(|tenant| Arc::from(*tenant)).collect();
    let tenants = if only.is_empty() { RouteTenants::All } else { RouteTenants::Only(only) };
    let table = sms_route("sms", 1);
    let route = table.iter().next().unwrap().clone();
    assert_eq!(&*account_id(route.adapter.provider(), &route.account.name), ACCOUNT);
    RouteTable::new(vec![Route { tenants, ..route }])
}

/// Whether a message of a tenant to a person, from [`US`] under `account`, is kept back.
fn keeps_back(list: &OptOuts, tenant: &str, recipient: &str, account: &str) -> bool {
    let (sender, recipient) = (number(US), number(recipient));
    let addressed = Addressed {
        tenant,
        channel: &Channel::SMS,
        sender: &sender,
        recipient: &recipient,
        account,
    };
    list.forbids(addressed, &FormerNames::default())
}

#[test]
fn a_caller_s_entry_counts_for_its_tenant_s_messages_from_the_sender_or_from_all() {
    let list = open();
    assert!(!keeps_back(&list, "a", ANN, ACCOUNT));
    assert_eq!(list.add(vec![row("a", None, ANN), row("a", Some(US), BOB)], 0), Ok(Some(2)));
    for who in [ANN, BOB] {
        assert!(keeps_back(&list, "a", who, ACCOUNT) && keeps_back(&list, "a", who, "other/one"));
        assert!(!keeps_back(&list, "b", who, ACCOUNT), "another tenant's");
    }
    let other = number("447700900009");
    let (whatsapp, ann, bob, us) = (Channel::WHATSAPP, number(ANN), number(BOB), number(US));
    let from = |channel, sender, recipient| Addressed {
        tenant: "a",
        channel,
        sender,
        recipient,
        account: ACCOUNT,
    };
    let none = FormerNames::default();
    assert!(!list.forbids(from(&whatsapp, &us, &ann), &none), "another channel");
    assert!(list.forbids(from(&Channel::SMS, &other, &ann), &none), "from every sender");
    assert!(!list.forbids(from(&Channel::SMS, &other, &bob), &none), "from another sender");
}

#[test]
fn what_is_on_the_list_is_there_after_a_restart_once_and_can_be_lifted() {
    let settings = settings();
    let open = || over(&settings);
    let many: Vec<_> = (0..1300).map(|n| row("a", None, &format!("4477{n:08}"))).collect();
    assert_eq!(open().add(many.clone(), 0), Ok(Some(1300)));
    assert_eq!(open().add(many, 0), Ok(Some(0)), "they are there already");
    let list = open();
    assert_eq!(list.count("a"), 1300);
    assert!(keeps_back(&list, "a", "447700001299", ACCOUNT));
    assert_eq!(list.add(vec![row("a", Some(US), ANN), row("a", None, ANN)], 0), Ok(Some(2)));
    let of_ann = |sender: Option<&str>| OptOutFilter {
        tenant: Some(Arc::from("a")),
        channel: Some(Channel::SMS),
        sender: sender.map(str::to_owned),
        recipient: Some(number(ANN)),
    };
    assert_eq!(list.lift(&of_ann(Some(US))), Ok(1));
    assert!(keeps_back(&list, "a", ANN, ACCOUNT), "the other entry stands");
    assert_eq!(list.lift(&of_ann(None)), Ok(1));
    assert_eq!(list.lift(&of_ann(None)), Ok(0));
    let list = open();
    assert!(!keeps_back(&list, "a", ANN, ACCOUNT));
    assert_eq!(list.count("a"), 1300);
    let everything = OptOutFilter { tenant: Some(Arc::from("a")), ..OptOutFilter::default() };
    assert_eq!(list.lift(&everything), Ok(1300));
    assert_eq!((open().count("a"), list.count("a")), (0, 0));
}

#[test]
fn a_list_is_read_in_pages_and_by_tenant_channel_sender_and_recipient() {
    let list = open();
    let mut rows = vec![row("a", Some(US), ANN), row("ab", None, ANN), row("b", None, BOB)];
    rows.push(NewOptOut { channel: Channel::WHATSAPP, ..row("a", None, ANN) });
    rows.push(row("a", None, BOB));
    for row in &rows {
        assert_eq!(list.add(vec![row.clone()], 0), Ok(Some(1)));
    }
    let found = |filter: &OptOutFilter| {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = list.list(filter, after, 1).unwrap();
            found.extend(page.rows.into_iter().map(|(_, row)| row));
            match page.next {
                Some(next) => after = Some(next),
                None => return found.len(),
            }
        }
    };
    let all = OptOutFilter::default();
    let of_a = OptOutFilter { tenant: Some(Arc::from("a")), ..all.clone() };
    assert_eq!(found(&all), 5);
    assert_eq!(found(&of_a), 3);
    assert_eq!(found(&OptOutFilter { channel: Some(Channel::SMS), ..of_a.clone() }), 2);
    assert_eq!(found(&OptOutFilter { sender: Some(US.to_owned()), ..of_a.clone() }), 1);
    assert_eq!(found(&OptOutFilter { recipient: Some(number(ANN)), ..all }), 3);
    let both = OptOutFilter { channel: Some(Channel::SMS), ..of_a };
    assert_eq!(found(&OptOutFilter { recipient: Some(number(ANN)), ..both }), 1);
}

#[test]
fn a_tenant_s_list_is_bounded_and_what_is_refused_is_refused_whole() {
    let list = open();
    assert_eq!(list.add(vec![row("a", None, ANN)], 2), Ok(Some(1)));
    let two = vec![row("a", None, BOB), row("a", None, "447700900003")];
    assert_eq!(list.add(two, 2), Ok(None));
    assert_eq!(list.count("a"), 1);
    let known_and_new = vec![row("a", None, ANN), row("a", None, BOB), row("a", None, BOB)];
    assert_eq!(list.add(known_and_new, 2), Ok(Some(1)), "each counts once");
    assert_eq!(
        list.add(vec![row("a", None, ANN)], 2),
        Ok(Some(0)),
        "nothing new is never too many"
    );
}

#[test]
fn what_a_person_says_counts_for_whoever_sends_from_there_until_they_say_otherwise() {
    let (list, routes) = (open(), routes(&["a", "b"]));
    let told = |told: &[OptOut]| list.told(&Arc::from(ACCOUNT), None, &routes, told, NOW);
    assert_eq!(told(&[stop(ANN, false)]), Ok((1, 0)));
    assert_eq!(told(&[stop(ANN, false)]), Ok((0, 0)), "told twice");
    // Whoever is given the sender later, too.
    for tenant in ["a", "b", "c"] {
        assert!(keeps_back(&list, tenant, ANN, ACCOUNT), "{tenant}");
        assert!(!keeps_back(&list, tenant, ANN, "sandbox/other"), "of that account alone");
        assert!(!keeps_back(&list, tenant, BOB, ACCOUNT));
    }
    assert_eq!(list.count("a"), 0, "no caller put it there");
    list.add(vec![row("a", None, BOB)], 0).unwrap();
    assert_eq!(told(&[stop(ANN, true), stop(BOB, true)]), Ok((0, 1)));
    assert!(!keeps_back(&list, "a", ANN, ACCOUNT));
    assert!(keeps_back(&list, "a", BOB, ACCOUNT), "what a caller said is not the person's to lift");
    assert_eq!(list.count("a"), 1);
}

#[test]
fn of_what_a_person_says_at_once_the_last_word_counts() {
    let (list, routes) = (open(), routes(&["a"]));
    let told = |told: &[OptOut]| list.told(&Arc::from(ACCOUNT), None, &routes, told, NOW);
    assert_eq!(told(&[stop(ANN, true), stop(ANN, false)]), Ok((1, 0)));
    assert!(keeps_back(&list, "a", ANN, ACCOUNT));
    assert_eq!(told(&[stop(ANN, true), stop(ANN, false)]), Ok((0, 0)));
    assert!(keeps_back(&list, "a", ANN, ACCOUNT));
    assert_eq!(told(&[stop(ANN, false), stop(ANN, true)]), Ok((0, 1)));
    assert!(!keeps_back(&list, "a", ANN, ACCOUNT));
}

#[test]
fn nobody_speaks_for_a_sender_that_sends_nothing_under_that_account() {
    let (list, routes) = (open(), routes(&["a"]));
    let elsewhere = list.told(&Arc::from("sandbox/other"), None, &routes, &[stop(ANN, false)], NOW);
    assert_eq!(elsewhere, Ok((0, 0)));
    let sender = ChannelSender { channel: Channel::SMS, id: "447700900008".to_owned() };
    let scope = ReceiptScope::new(vec![Arc::from("a")], sender.clone());
    let account = Arc::from(ACCOUNT);
    let of_another = list.told(&account, Some(&scope), &routes, &[stop(ANN, false)], NOW);
    assert_eq!(of_another, Ok((0, 0)), "a sender's own account speaks for that sender alone");
    let own = [OptOut { sender, ..stop(ANN, false) }];
    assert_eq!(list.told(&account, Some(&scope), &routes, &own, NOW), Ok((1, 0)));
}

#[test]
fn what_was_told_by_an_account_counts_under_its_new_name_and_is_lifted_under_it() {
    let list = open();
    let before: Arc<str> = Arc::from("sandbox/before");
    let names = FormerNames::new([(Arc::from(ACCOUNT), Arc::clone(&before))]);
    let told = NewOptOut { account: Some(before), ..row("a", Some(US), ANN) };
    list.add(vec![told], 0).unwrap();
    let (sender, recipient) = (number(US), number(ANN));
    let forbids = || {
        let addressed = Addressed {
            tenant: "a",
            channel: &Channel::SMS,
            sender: &sender,
            recipient: &recipient,
            account: ACCOUNT,
        };
        list.forbids(addressed, &names)
    };
    assert!(forbids());
    let routes = routes(&["a"]).with_former_names(names.clone());
    let lifted = list.told(&Arc::from(ACCOUNT), None, &routes, &[stop(ANN, true)], NOW);
    assert_eq!(lifted, Ok((0, 1)));
    assert!(!forbids());
}

#[test]
fn what_a_provider_refuses_for_it_is_remembered_once_and_lifted_by_start() {
    let (list, routes) = (open(), routes(&["a"]));
    let (sender, recipient) = (number(US), number(ANN));
    let of = |tenant| {
        let (channel, account) = (&Channel::SMS, ACCOUNT);
        Addressed { tenant, channel, sender: &sender, recipient: &recipient, account }
    };
    assert_eq!(list.refused(of("a"), false, NOW), Ok(1));
    assert_eq!(list.refused(of("b"), false, NOW), Ok(0));
    assert!(keeps_back(&list, "a", ANN, ACCOUNT) && keeps_back(&list, "b", ANN, ACCOUNT));
    let told = |told: &[OptOut]| list.told(&Arc::from(ACCOUNT), None, &routes, told, NOW);
    assert_eq!(told(&[stop(ANN, true)]), Ok((0, 1)));
    // Under an account of its own it is that tenant's alone, and lifted all the same.
    assert_eq!(list.refused(of("a"), true, NOW), Ok(1));
    assert!(keeps_back(&list, "a", ANN, ACCOUNT) && !keeps_back(&list, "b", ANN, ACCOUNT));
    assert_eq!(told(&[stop(ANN, true)]), Ok((0, 1)));
    assert!(!keeps_back(&list, "a", ANN, ACCOUNT));
}

/// All rows of the list, keys and values.
fn stored(settings: &Arc<dyn Settings>) -> Vec<u8> {
    let rows = settings.list(Kind::OptOut, None, 100).unwrap();
    rows.into_iter().flat_map(|(key, value)| [key, value].concat()).collect()
}

fn recipients(list: &OptOuts) -> Vec<Option<Endpoint>> {
    let page = list.list(&OptOutFilter::default(), None, 100).unwrap();
    page.rows.into_iter().map(|(_, listed)| listed.recipient).collect()
}

#[test]
fn a_row_says_of_nobody_but_to_who_has_the_keys() {
    let settings = settings();
    let list = over(&settings);
    list.add(vec![row("a", Some(US), ANN)], 0).unwrap();
    let stored = stored(&settings);
    let says = |what: &[u8]| stored.windows(what.len()).any(|part| part == what);
    assert!(says(US.as_bytes()) && !says(ANN.as_bytes()));
    // Whoever tries numbers without the key finds none of them by the row's own.
    let other = ContentsKeeper::in_memory([77; 32]);
    let other = OptOuts::open(MemoryStore::new().settings(), other.rows(Family::OptOut)).unwrap();
    let hash = |list: &OptOuts| list.person(&Channel::SMS, ANN);
    assert!(says(&hash(&list)) && !says(&hash(&other)));
    assert_eq!(recipients(&list), [Some(number(ANN))]);
}

#[test]
fn an_address_is_forgotten_and_the_word_stands() {
    let settings = settings();
    let list = over(&settings);
    let us = Some(US);
    let rows = vec![row("a", None, ANN), row("a", us, ANN), row("b", us, ANN), row("a", None, BOB)];
    list.add(rows, 0).unwrap();
    let heard = stop(ANN, false);
    list.told(&Arc::from(ACCOUNT), None, &routes(&["a"]), &[heard], NOW).unwrap();
    let count = |whose, address| list.of_person(whose, &[address]).unwrap().len();
    let written = ["+44 7700 900001", "00447700900001", ANN];
    assert_eq!(written.map(|address| count(Some("a"), address)), [2; 3], "a tenant's own");
    assert_eq!((count(Some(""), ANN), count(Some("b"), ANN), count(Some("c"), ANN)), (1, 1, 0));
    assert_eq!((count(None, ANN), count(None, BOB), count(None, "447700900009")), (4, 1, 0));
    assert_eq!(list.of_person(None, &[ANN, BOB, ANN]).unwrap().len(), 5, "each once");

    list.forget(&list.of_person(None, &[ANN]).unwrap()).unwrap();
    for list in [&list, &over(&settings)] {
        let shown = recipients(list);
        assert_eq!(shown.iter().flatten().collect::<Vec<_>>(), [&number(BOB)], "{shown:?}");
        assert_eq!(shown.len(), 5);
        for tenant in ["a", "b", "c"] {
            assert!(keeps_back(list, tenant, ANN, ACCOUNT), "{tenant}");
        }
        let of_ann = OptOutFilter { recipient: Some(number(ANN)), ..OptOutFilter::default() };
        assert_eq!(list.list(&of_ann, None, 100).unwrap().rows.len(), 4, "who knows it finds it");
    }
    list.forget(&list.of_person(None, &[ANN]).unwrap()).unwrap();
    // It is lifted as before.
    let lifted = list.told(&Arc::from(ACCOUNT), None, &routes(&["a"]), &[stop(ANN, true)], NOW);
    assert_eq!(lifted, Ok((0, 1)));
    assert_eq!(list.remove(list.of_person(None, &[ANN]).unwrap()), Ok(3));
    assert!(!keeps_back(&list, "a", ANN, ACCOUNT) && keeps_back(&list, "a", BOB, ACCOUNT));
}

#[test]
fn a_whole_list_is_forgotten_some_at_a_time_and_what_came_later_and_another_tenant_s_is_not() {
    let settings = settings();
    let list = over(&settings);
    let many = (0..ROWS + 3).map(|at| row("a", None, &format!("4477008{at:05}")));
    list.add(many.collect(), 0).unwrap();
    list.add(vec![row("aa", None, ANN), row("", None, BOB)], 0).unwrap();
    let newest = newest_row_slot(&*settings, Family::OptOut).unwrap().unwrap();
    list.add(vec![row("a", None, ANN)], 0).unwrap();
    type Step<'a> = &'a dyn Fn(Option<Vec<u8>>) -> Result<ErasedSome<Vec<u8>>, StoreError>;
    let all = |step: Step<'_>| {
        let (mut counts, mut after) = (Vec::new(), None);
        loop {
            let some = step(after).unwrap();
            assert_eq!(some.unreadable, 0);
            counts.push(some.count);
            let Some(next) = some.next else { return (counts.len(), counts.iter().sum()) };
            after = Some(next);
        }
    };
    assert_eq!(all(&|after| list.count_some(Some("a"), newest, after)), (2, ROWS + 3));
    assert_eq!(all(&|after| list.forget_some(Some("a"), newest, after)), (2, ROWS + 3));
    assert_eq!(all(&|after| list.forget_some(Some("a"), newest, after)), (2, 0), "done again");
    let page = list.list(&OptOutFilter::default(), None, 10 * ROWS).unwrap();
    let known: Vec<_> = page.rows.into_iter().filter_map(|(_, row)| row.recipient).collect();
    assert_eq!(known, [number(BOB), number(ANN), number(ANN)]);
    assert!(keeps_back(&list, "a", "447700800001", ACCOUNT));
    assert_eq!(list.count("a"), ROWS + 4, "they go on counting");
    assert_eq!(all(&|after| list.forget_some(None, KeySlot(u64::MAX), after)), (2, 3));
}

#[test]
fn what_is_lifted_is_forgotten() {
    let (keys, settings) = (MemoryKeys::new([3; 32]), settings());
    let keeper = ContentsKeeper::new(Arc::new(keys.clone()));
    let list = OptOuts::open(Arc::clone(&settings), keeper.rows(Family::OptOut)).unwrap();
    list.add(vec![row("a", None, ANN), row("a", None, BOB)], 0).unwrap();
    assert_eq!(newest_row_slot(&*settings, Family::OptOut), Ok(Some(KeySlot(1))), "a start knows");
    let [(key, sealed)] = &settings.list(Kind::OptOut, None, 1).unwrap()[..] else { panic!() };
    let sealed: OptOutRow = decode(sealed, String::new).unwrap();
    let opens = || keeper.rows(Family::OptOut).open::<Endpoint>(key, &sealed.recipient);
    assert!(opens().is_ok());
    let everything = OptOutFilter { tenant: Some(Arc::from("a")), ..OptOutFilter::default() };
    assert_eq!(list.lift(&everything), Ok(2));
    assert_eq!((keys.destroyed(), opens()), (2, Err(Unopened::Gone)));
}
