//! `config check` and `config show`.

use std::io::{self, Write};

use elastic_flow_wire::with_causes;

use crate::app::App;
use crate::args::Common;
use crate::config::{Config, Port};
use crate::context::{Context, Flags};
use crate::exit_code::{COMPLETED, Failure};
use crate::key_file;
use crate::{exposure, output, stores};

/// Names everything that is wrong; then lists the addresses of every server.
pub(crate) fn check(app: &App, common: &Common) -> Result<u8, Failure> {
    let (context, errors) = Context::read(app, common, Flags::default())?;
    let config = &context.config;
    let ports = config.ports();
    let found = [
        context.interceptors().map(drop),
        app.find_method(&config.method).map(drop),
        app.find_monitor(&config.heartbeat.monitor).map(drop),
        context.window().map(drop),
        config.store.url.as_deref().map_or(Ok(()), |url| stores::check(app, url)),
        config.program.as_deref().map_or(Ok(()), |program| context.program(Some(program)).map(drop)),
        context.data_roots(false).map(drop),
    ];
    // What could not be read may be what would allow an address.
    let exposed = exposed(config, if errors.is_empty() { &ports } else { &[] });
    let found = found.into_iter().chain(keys(config)).chain(exposed);
    let found = found.filter_map(Result::err).map(|failure| failure.to_string());
    let wrong: Vec<String> = errors.iter().map(ToString::to_string).chain(found).collect();
    if !wrong.is_empty() {
        return Err(Failure::usage(format!("the configuration is wrong:\n  {}", wrong.join("\n  "))));
    }
    if common.json {
        let row = |port: &Port| {
            serde_json::json!({
                "name": port.name, "role": port.role.name(), "what": port.what.name(), "address": port.address
            })
        };
        output::json_line(&serde_json::json!({ "ok": true, "ports": ports.iter().map(row).collect::<Vec<_>>() }))?;
    } else {
        output::to_stdout(|out| write_ports(out, &ports))?;
    }
    Ok(COMPLETED)
}

/// Whether the key files that are named can be read here.
fn keys(config: &Config) -> impl Iterator<Item = Result<(), Failure>> {
    let named = [&config.security.key_file, &config.security.old_key_file];
    named.into_iter().flatten().map(|path| {
        let read = key_file::read(path).map(drop);
        read.map_err(|error| Failure::usage(with_causes(&error)))
    })
}

/// What would be refused because it lies beyond a machine.
fn exposed<'a>(config: &'a Config, ports: &'a [Port]) -> impl Iterator<Item = Result<(), Failure>> + 'a {
    let given = config.security.key_file.is_some();
    ports.iter().filter(|port| port.what.listens()).map(move |port| {
        let what = format!("the {} address of {}:", port.what.name(), port.name);
        exposure::check(&what, &port.address, given, &config.security).map(drop)
    })
}

fn write_ports(out: &mut dyn Write, ports: &[Port]) -> io::Result<()> {
    writeln!(out, "the configuration is right")?;
    let row = |port: &Port| {
        vec![port.name.clone(), port.role.name().to_owned(), port.what.name().to_owned(), port.address.clone()]
    };
    let rows: Vec<Vec<String>> = ports.iter().map(row).collect();
    output::table(out, &["NAME", "ROLE", "WHAT", "ADDRESS"], &rows)
}

/// Prints the whole as TOML.
pub(crate) fn show(app: &App, common: &Common) -> Result<u8, Failure> {
    let context = Context::new(app, common, Flags::default())?;
    if common.json {
        let shown = context.config.shown(&context.origins).into_iter().map(
            |shown| serde_json::json!({ "key": shown.key, "value": shown.value, "origin": shown.origin.to_string() }),
        );
        output::json_line(&shown.collect::<Vec<_>>())?;
    } else {
        let text = context.config.to_toml(&context.origins);
        output::to_stdout(|out| out.write_all(text.as_bytes()))?;
    }
    Ok(COMPLETED)
}
