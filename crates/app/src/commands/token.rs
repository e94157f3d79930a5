//! `token`: a bearer token for scripts and scrapers. The command line itself needs none, it derives its own.

use elastic_flow_admin::{Role, Token};

use crate::app::App;
use crate::args::{Common, Token as Args, TokenRole};
use crate::context::{Context, Flags};
use crate::exit_code::{COMPLETED, Failure};
use crate::output;

pub(crate) fn token(app: &App, common: &Common, args: &Args) -> Result<u8, Failure> {
    let context = Context::new(app, common, Flags::default())?;
    let role = match args.role {
        TokenRole::Read => Role::Read,
        TokenRole::Submit => Role::Submit,
        TokenRole::Admin => Role::Admin,
    };
    let token = Token::derive(&context.existing_key()?.secret, role);
    if common.json {
        output::json_line(&serde_json::json!({ "role": role.name(), "token": token.expose() }))?;
    } else {
        output::to_stdout(|out| writeln!(out, "{}", token.expose()))?;
    }
    Ok(COMPLETED)
}
