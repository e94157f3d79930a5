use super::*;
use std::io::Write as _;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("it is written");
    file
}

fn load(text: &str, environment: &[(&str, &str)], sets: &[&str]) -> Result<Config, ConfigErrors> {
    let file = file(text);
    let sources = Sources {
        file: Some(file.path().to_owned()),
        environment: environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        sets: sets.iter().map(|set| (*set).to_owned()).collect(),
        flags: Vec::new(),
    };
    sources.load()
}

fn messages(result: Result<Config, ConfigErrors>) -> Vec<String> {
    result.expect_err("it is wrong").0.iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_gives_the_defaults() {
    assert_eq!(Sources::default().load(), Ok(Config::default()));
    assert_eq!(Config::default().admin.listen, "127.0.0.1:7118");
    assert_eq!(Config::default_listen(), "127.0.0.1:7117");
}

#[test]
fn a_whole_file_is_read() {
    let config = load(
        r#"
        cluster = "logs"
        program = "word_count"
        interceptors = ["print"]
        compress = "auto"
        [servers]
        yam1 = { role = "master", listen = "10.0.0.1:7117", admin = "127.0.0.1:7118" }
        yam2 = { role = "worker", slots = 4 }
        yam3 = "slave"
        [distribute]
        method = "round-robin"
        window = "by_hour"
        chunk_items = 100
        chunk_bytes = "2 MiB"
        [store]
        url = "fs:/srv/x"
        durability = "os"
        keep_payloads = "always"
        keep_results = "2h"
        [heartbeat]
        every = "200ms"
        dead_after = "1s"
        monitor = "from-a-file"
        [retry]
        max_attempts = 2
        grace = "3s"
        [security]
        key_file = "/k"
        insecure_plaintext = true
        [admin]
        listen = "127.0.0.1:0"
        metrics_open = true
        "#,
        &[],
        &[],
    )
    .expect("it is right");
    assert_eq!((config.cluster.as_str(), config.program.as_deref()), ("logs", Some("word_count")));
    assert_eq!(config.interceptors, ["print"]);
    assert_eq!((config.method.as_str(), config.settings.chunk_items), (ROUND_ROBIN, 100));
    assert_eq!(config.window.as_deref(), Some("by_hour"));
    assert_eq!(config.heartbeat.monitor, "from-a-file");
    assert_eq!((config.settings.chunk_bytes, config.settings.chunk_adapts), (2 << 20, true));
    assert_eq!(config.store.url.as_deref(), Some("fs:/srv/x"));
    assert_eq!((config.store.durability, config.store.keep_payloads), (Durability::Os, KeepPayloads::Always));
    assert_eq!(config.store.keep_results, Duration::from_secs(7200));
    assert_eq!(config.heartbeat.every, Duration::from_millis(200));
    assert_eq!((config.settings.max_attempts, config.settings.grace), (2, Duration::from_secs(3)));
    assert_eq!(config.security.key_file, Some("/k".into()));
    assert!(config.security.insecure_plaintext && config.admin.metrics_open);
    assert_eq!(config.master_server().map(|(name, _)| name), Some("yam1"));
    assert_eq!(config.servers["yam2"].slots, Some(4));
    assert_eq!(config.servers["yam3"].role, ServerRole::Worker);
}

fn traced(text: &str, environment: &[(&str, &str)], sets: &[&str]) -> (Config, Origins, String) {
    let file = file(text);
    let sources = Sources {
        file: Some(file.path().to_owned()),
        environment: environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        sets: sets.iter().map(|set| (*set).to_owned()).collect(),
        flags: vec![("--store", "store.url", "memory".to_owned())],
    };
    let (config, origins) = sources.load_traced().expect("it is right");
    (config, origins, file.path().display().to_string())
}

const EVERY_ORIGIN: &str = "cluster = \"logs\"\n[retry]\nmax_attempts = 7\n[servers]\nyam1 = { role = \"master\", admin = \"127.0.0.1:1\" }\n\
                            \"yam2.example.com\" = \"slave\"\n[distribute]\nchunk_bytes = \"64 KiB\"\n";

#[test]
fn every_value_is_shown_with_its_origin() {
    let environment = [("ELASTIC_FLOW_RETRY__GRACE", "3s"), ("ELASTIC_FLOW_KEY_FILE", "/k")];
    let (config, origins, file) = traced(EVERY_ORIGIN, &environment, &["retry.max_skips=2", "servers.yam1.listen=a:1"]);
    let text = config.to_toml(&origins);
    for (line, origin) in [
        ("cluster = \"logs\"", format!("{file}:1")),
        ("max_attempts = 7", format!("{file}:3")),
        ("admin = \"127.0.0.1:1\"", format!("{file}:5")),
        ("role = \"worker\"", format!("{file}:6")),
        ("chunk_bytes = \"64 KiB\"", format!("{file}:8")),
        ("chunk_adapts = false", "implied by another setting".to_owned()),
        ("grace = \"3s\"", "ELASTIC_FLOW_RETRY__GRACE".to_owned()),
        ("key_file = \"/k\"", "ELASTIC_FLOW_KEY_FILE".to_owned()),
        ("max_skips = 2", "--set".to_owned()),
        ("listen = \"a:1\"", "--set".to_owned()),
        ("url = \"memory\"", "--store".to_owned()),
        ("dead_after = \"5s\"", "default".to_owned()),
    ] {
        let shown = text.lines().find(|it| it.starts_with(line)).unwrap_or_else(|| panic!("{line} is not in\n{text}"));
        assert_eq!(shown.split_once('#').map(|it| it.1.trim()), Some(origin.as_str()), "{shown}");
    }
    assert!(text.contains("[servers.\"yam2.example.com\"]\n") && text.contains("# program is not set\n"), "{text}");
}

#[test]
fn what_is_shown_gives_the_same_configuration() {
    let (config, origins, _) = traced(EVERY_ORIGIN, &[], &["compress=3", "source.data_roots=/a,/b", "admin.hosts=x"]);
    assert_eq!(load(&config.to_toml(&origins), &[], &[]).as_ref(), Ok(&config));
    assert_eq!(load(&Config::default().to_toml(&Origins::new()), &[], &[]), Ok(Config::default()));
}

#[test]
fn a_key_in_place_of_its_file_is_in_no_message() {
    let key = "8f2a1c5be07d43961122f0aa9b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e";
    let (file, set) = (format!("[security]\nkey_file = \"{key}\""), format!("security.old_key_file={key}"));
    let all = messages(load(&file, &[("ELASTIC_FLOW_OLD_KEY_FILE", key)], &[&set])).join("\n");
    assert_eq!((all.matches("the name of a file").count(), all.contains(&key[..12])), (3, false), "{all}");
    assert!(all.contains("(--set security.old_key_file)") && all.contains(":2)"), "{all}");
}

#[test]
fn names_of_hosts_are_names_of_servers() {
    let text = "[servers]\n\"a.example.com\" = \"master\"\n\"b.example.com\" = { slots = 2 }";
    let config =
        load(text, &[], &["servers.c.example.com=slave", "servers.b.example.com.admin=b:1"]).expect("it is right");
    assert_eq!(config.servers.keys().collect::<Vec<_>>(), ["a.example.com", "b.example.com", "c.example.com"]);
    let b = &config.servers["b.example.com"];
    assert_eq!((b.role, b.slots, b.admin.as_deref()), (ServerRole::Worker, Some(2), Some("b:1")));
}

#[test]
fn a_server_that_cannot_be_found_or_does_not_listen_is_named() {
    let case = |servers: &str| load(&format!("[servers]\n{servers}"), &[], &[]);
    for (servers, message) in [
        ("a = { role = \"master\", listen = \"0.0.0.0:7117\" }\nb = \"worker\"", "servers.a.listen is 0.0.0.0:7117"),
        ("a = { role = \"master\", listen = \"yam1:0\" }\nb = \"worker\"", "servers.a.advertise"),
        ("a = { role = \"master\", advertise = \"[::]:7117\" }", "servers.a.advertise is [::]:7117"),
        ("a = { role = \"master\", listen = \"yam1\" }", "an address is host:port"),
        ("a = { role = \"master\", listen = \"x:1\", admin = \"x:1\" }", "servers.a listens on x:1 twice"),
        ("a = { role = \"master\", slots = 2 }", "servers.a.slots is set for a master"),
        (
            "b = { role = \"worker\", listen = \"10.0.0.2\" }",
            "servers.b.listen is \"10.0.0.2\", but an address is host:port",
        ),
        ("b = { slots = 2000 }", "servers.b.slots is 2000, but a worker has at most 1024"),
    ] {
        let errors = messages(case(servers));
        assert!(errors.len() == 1 && errors[0].contains(message), "{errors:?} should have {message}");
    }
    let found = "a = { role = \"master\", listen = \"0.0.0.0:7117\", advertise = \"yam1:7117\" }\nb = \"worker\"";
    assert_eq!(case(found).expect("it is right").master_address(), "yam1:7117");
}

#[test]
fn the_addresses_of_every_server_are_listed() {
    let text = "[servers]\nyam1 = { role = \"master\", listen = \"0.0.0.0:7117\", advertise = \"10.0.0.1:7117\" }\n\
                yam2 = { role = \"worker\", admin = \"10.0.0.2:7119\" }\nyam3 = \"slave\"";
    let ports = load(text, &[], &["admin.listen=127.0.0.1:7200"]).expect("it is right").ports();
    let rows: Vec<_> =
        ports.iter().map(|it| (it.name.as_str(), it.role.name(), it.what.name(), it.address.as_str())).collect();
    assert_eq!(
        rows,
        [
            ("yam1", "master", "cluster", "0.0.0.0:7117"),
            ("yam1", "master", "advertised", "10.0.0.1:7117"),
            ("yam1", "master", "admin", "127.0.0.1:7200"),
            ("yam2", "worker", "connects to", "10.0.0.1:7117"),
            ("yam2", "worker", "admin", "10.0.0.2:7119"),
            ("yam3", "worker", "connects to", "10.0.0.1:7117"),
        ]
    );
    let alone: Vec<String> = Config::default().ports().into_iter().map(|it| it.address).collect();
    assert_eq!(alone, ["127.0.0.1:7117", "127.0.0.1:7118"]);
}

#[test]
fn the_command_line_overrides_the_environment_and_that_the_file() {
    let text = "[retry]\nmax_attempts = 2\nmax_skips = 2\nmax_losses = 2";
    let environment = [("ELASTIC_FLOW_RETRY__MAX_ATTEMPTS", "3"), ("ELASTIC_FLOW_RETRY__MAX_SKIPS", "3")];
    let config = load(text, &environment, &["retry.max_attempts=5"]).expect("it is right");
    let settings = &config.settings;
    assert_eq!((settings.max_attempts, settings.max_skips, settings.max_losses), (5, 3, 2));
    let sources = Sources {
        sets: vec!["store.url=memory".to_owned()],
        flags: vec![("--store", "store.url", "fs:/x".to_owned())],
        ..Sources::default()
    };
    assert_eq!(sources.load().expect("it is right").store.url.as_deref(), Some("fs:/x"));
}

#[test]
fn every_error_is_named_at_once_with_its_origin() {
    let text = "[retry]\nmax_attempt = 2\ngrace = 30\n[stor]\nurl = \"memory\"\n[heartbeat]\nevery = \"3s\"";
    let errors = messages(load(text, &[("ELASTIC_FLOW_ADMIN__LISTN", "x")], &["store.durability=never", "nothing"]));
    let all = errors.join("\n");
    assert_eq!(errors.len(), 7, "{all}");
    assert!(all.contains("retry.max_attempt is unknown: did you mean retry.max_attempts?"), "{all}");
    assert!(all.contains("retry.grace is 30, but has to be a duration"), "{all}");
    assert!(all.contains("stor.url is unknown: did you mean store.url?"), "{all}");
    assert!(all.contains("admin.listn is unknown: did you mean admin.listen? (ELASTIC_FLOW_ADMIN__LISTN)"), "{all}");
    assert!(all.contains("store.durability is \"never\", but has to be \"synced\" or \"os\" (--set"), "{all}");
    assert!(all.contains("nothing has no '='"), "{all}");
    assert!(all.contains("heartbeat.dead_after is 5s, but has to be at least twice heartbeat.every (3s)"), "{all}");
}

#[test]
fn keys_of_later_versions_are_refused_and_not_ignored() {
    for set in ["chaos.seed=1", "distribute.master_works=true", "retry.speculate=true", "memory.budget=50%"] {
        let errors = messages(load("", &[], &[set]));
        assert_eq!(errors.len(), 1, "{set}");
        assert!(errors[0].contains("not available in this version"), "{}", errors[0]);
    }
}

#[test]
fn a_misspelt_section_or_shape_is_named() {
    assert!(messages(load("retry = 3", &[], &[]))[0].contains("has to be a section: [retry]"));
    assert!(messages(load("cluster = { a = 1 }", &[], &[]))[0].contains("a text"));
    assert!(messages(load("[x.y]\nz = 1", &[], &[]))[0].starts_with("x.y is unknown"));
    assert!(messages(load("x = [", &[], &[]))[0].contains("is not TOML"));
    assert!(messages(load("[servers]\na = \"boss\"", &[], &[]))[0].contains("\"master\" or \"worker\""));
    assert!(
        messages(load("[servers]\na = { speed = 1 }", &[], &[]))[0].contains("role, listen, advertise, admin, slots")
    );
    assert!(
        messages(load("[servers]\na = \"master\"\nb = \"master\"", &[], &[]))[0].contains("several masters (a, b)")
    );
    let missing = Sources { file: Some("/nowhere/x.toml".into()), ..Sources::default() };
    assert!(messages(missing.load())[0].starts_with("/nowhere/x.toml cannot be read"));
}

#[test]
fn variables_of_others_are_left_alone_and_near_misses_are_not() {
    let service = [("ELASTIC_FLOW_PORT_7117_TCP", "tcp://10.0.0.1:7117"), ("ELASTIC_FLOW_SERVICE_HOST", "10.0.0.1")];
    assert!(load("", &service, &[]).is_ok());
    assert!(messages(load("", &[("ELASTIC_FLOW_CLUSTR", "x")], &[]))[0].contains("did you mean cluster?"));
    let config = load("", &[("ELASTIC_FLOW_KEY_FILE", "/k"), ("ELASTIC_FLOW_LOG", "debug")], &[]).expect("it is right");
    assert_eq!(config.security.key_file, Some("/k".into()));
}

#[test]
fn a_small_chunk_stays_small() {
    let config = load("", &[], &["distribute.chunk_bytes=4KiB"]).expect("it is right");
    assert_eq!((config.settings.chunk_bytes, config.settings.chunk_adapts), (4096, false));
}

#[test]
fn zero_where_one_is_needed_is_refused() {
    for set in
        ["distribute.chunk_items=0", "distribute.open_per_slot=0", "retry.max_attempts=0", "distribute.chunk_bytes=0"]
    {
        assert!(messages(load("", &[], &[set]))[0].contains("has to be at least 1"), "{set}");
    }
    assert!(messages(load("", &[], &["cluster=a b"]))[0].contains("a name consists of"));
}

#[test]
fn every_known_key_can_be_set_from_text() {
    for key in known_keys() {
        let candidates =
            ["1", "1s", "30s", "16 MiB", "auto", "true", "default", "round-robin", "synced", "always", "127.0.0.1:0"];
        let taken = candidates
            .iter()
            .any(|value| Sources { sets: vec![format!("{key}={value}")], ..Sources::default() }.load().is_ok());
        assert!(taken, "{key}");
    }
}

#[test]
fn every_key_sets_what_it_is_named_after_and_nothing_else() {
    const SEVEN: Duration = Duration::from_secs(7);
    type Change = fn(&mut Config);
    let cases: [(&str, Change); 16] = [
        (" cluster = logs ", |it| it.cluster = "logs".to_owned()),
        ("shutdown_grace=7s", |it| it.shutdown_grace = SEVEN),
        ("distribute.chunk_adapts=false", |it| it.settings.chunk_adapts = false),
        ("distribute.open_per_slot=9", |it| it.settings.open_per_slot = 9),
        ("distribute.task_chunks_max=9", |it| it.settings.task_chunks_max = 9),
        ("distribute.allow_mixed_builds=true", |it| it.settings.allow_mixed_builds = true),
        ("source.data_roots=/a", |it| it.data_roots = Some(vec!["/a".to_owned()])),
        ("heartbeat.every=2s", |it| it.heartbeat.every = Duration::from_secs(2)),
        ("heartbeat.dead_after=7s", |it| it.heartbeat.dead_after = SEVEN),
        ("retry.max_losses=9", |it| it.settings.max_losses = 9),
        ("retry.max_skips=9", |it| it.settings.max_skips = 9),
        ("retry.backoff=7s", |it| it.settings.retry_backoff = SEVEN),
        ("retry.grace=7s", |it| it.settings.grace = SEVEN),
        ("admin.hosts=a, b,", |it| it.admin.hosts = vec!["a".to_owned(), "b".to_owned()]),
        ("admin.min_workers=9", |it| it.admin.min_workers = 9),
        ("security.old_key_file=/k", |it| it.security.old_key_file = Some("/k".into())),
    ];
    for (set, change) in cases {
        let mut wanted = Config::default();
        change(&mut wanted);
        assert_eq!(load("", &[], &[set]), Ok(wanted), "{set}");
    }
    let files = [("ELASTIC_FLOW_KEY_FILE", "/new"), ("ELASTIC_FLOW_OLD_KEY_FILE", "/old")];
    let security = load("", &files, &[]).expect("it is right").security;
    assert_eq!((security.key_file, security.old_key_file), (Some("/new".into()), Some("/old".into())));
}

#[test]
fn what_is_just_within_its_limit_is_taken_and_what_is_just_beyond_is_refused() {
    let (longest, longer) = (format!("cluster={}", "x".repeat(128)), format!("cluster={}", "x".repeat(129)));
    let right: [&[&str]; 4] = [
        &["heartbeat.every=10ms", "heartbeat.dead_after=20ms"],
        &["distribute.chunk_bytes=64MiB"],
        &[&longest],
        &["servers.w.slots=1024"],
    ];
    for sets in right {
        assert_eq!(load("", &[], sets).err(), None, "{sets:?}");
    }
    for (set, message) in [
        ("heartbeat.every=9999us", "heartbeat.every is 9.999ms, but has to be at least 10 ms"),
        ("heartbeat.dead_after=1999ms", "heartbeat.dead_after is 1.999s, but has to be at least twice"),
        ("distribute.chunk_bytes=67108865", "distribute.chunk_bytes is 67108865, but chunks have at most 64 MiB"),
        ("distribute.task_chunks_max=0", "distribute.task_chunks_max is 0, but has to be at least 1"),
        (&longer, "a name consists of 1 to 128"),
        ("cluster=", "a name consists of 1 to 128"),
        ("security.key_file=", "has to be a path"),
        ("servers.w.slots=0", "servers.w.slots is 0, but has to be at least 1"),
        ("servers.w.slots=1025", "servers.w.slots is 1025"),
    ] {
        let errors = messages(load("", &[], &[set]));
        assert!(errors.len() == 1 && errors[0].contains(message), "{errors:?} should have {message}");
    }
}

#[test]
fn a_server_has_the_name_of_a_node_and_may_leave_both_ports_to_the_system() {
    let named = |name: &str| load(&format!("[servers]\n\"{name}\" = \"worker\""), &[], &[]);
    let longest = elastic_flow_wire::hello::NAME_BYTES_MAX;
    assert_eq!(named(&"x".repeat(longest)).err(), None);
    for wrong in ["x".repeat(longest + 1), "a b".to_owned()] {
        assert!(messages(named(&wrong))[0].starts_with(&format!("servers has the name {wrong:?}")));
    }
    let any = "[servers]\na = { role = \"master\", listen = \"127.0.0.1:0\", admin = \"127.0.0.1:0\" }";
    assert_eq!(load(any, &[], &[]).err(), None);
}

#[test]
fn an_unknown_key_is_told_the_one_that_was_meant_and_only_if_one_may_have_been() {
    let told = |set: &str| messages(load("", &[], &[set])).remove(0);
    assert!(told("distribute.open_per_worker=1").contains("is called distribute.open_per_slot"));
    assert!(told("retry.url=memory").contains("retry.url is unknown: did you mean store.url?"));
    assert!(told("quux.frobnicate=1").contains("quux.frobnicate is unknown ("));
    let errors = messages(load("", &[("ELASTIC_FLOW_FOO__BAR", "x"), ("ELASTIC_FLOW_SHUTDOWN_DELAY", "1s")], &[]));
    assert_eq!(errors, ["foo.bar is unknown (ELASTIC_FLOW_FOO__BAR)"], "the other may be somebody else's");
}

#[test]
fn chunks_adapt_unless_they_are_small_or_are_told_not_to() {
    for (sets, adapts) in [
        (vec!["distribute.chunk_bytes=1MiB"], true),
        (vec!["distribute.chunk_bytes=1048575"], false),
        (vec!["distribute.chunk_adapts=false", "distribute.chunk_bytes=16MiB"], false),
    ] {
        assert_eq!(load("", &[], &sets).expect("it is right").settings.chunk_adapts, adapts, "{sets:?}");
    }
}
