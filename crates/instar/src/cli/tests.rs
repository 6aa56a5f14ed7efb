use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use super::*;
use crate::output::OutputFormat;
use clap::error::ErrorKind;
use instar_controller::WatchFilter;
use instar_watch::Namespaces;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

fn wire(line: &str) -> WireArgs {
    match parse(line).unwrap().command {
        Command::Wire(args) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_command_line_is_consistent() {
    command().debug_assert();
}

#[test]
fn the_server_has_the_defaults_of_a_pod() {
    let Command::Webhook(args) = parse("instar webhook").unwrap().command else {
        panic!("no webhook");
    };
    let options = instar_serve::Options::default();
    assert_eq!(args.bind_address, options.bind);
    assert_eq!(args.port, options.port);
    assert_eq!(args.health_port, options.health_port);
    assert_eq!(args.cert_dir, options.cert_dir);
    assert_eq!(args.client_ca_file, options.client_ca);
    assert_eq!(args.log_format, log::Format::Text);
}

#[test]
fn the_server_takes_what_it_is_given() {
    let line = "instar webhook --bind-address 127.0.0.1 --port 9460 --health-port=9461 --cert-dir d \
        --client-ca-file ca.crt --log-format json";
    let Command::Webhook(args) = parse(line).unwrap().command else {
        panic!("no webhook");
    };
    assert_eq!(args.bind_address, IpAddr::V4(Ipv4Addr::LOCALHOST));
    assert_eq!((args.port, args.health_port), (9460, 9461));
    assert_eq!(args.log_format, log::Format::Json);
    assert_eq!(args.client_ca_file, Some(PathBuf::from("ca.crt")));
}

#[test]
fn wire_needs_a_class_or_files() {
    assert_eq!(
        parse("instar wire").unwrap_err().kind(),
        ErrorKind::MissingRequiredArgument
    );
    assert_eq!(wire("instar wire c -n ns").class.as_deref(), Some("c"));
    let args = wire("instar wire -f a.yaml -f - --check --strict -o json");
    assert_eq!(args.files, [PathBuf::from("a.yaml"), PathBuf::from("-")]);
    assert!(args.check && args.strict && args.class.is_none());
    assert_eq!(args.output, OutputFormat::Json);
}

#[test]
fn help_says_how_it_ends() {
    for name in ["webhook", "wire", "crd", "release-holds"] {
        let mut command = command();
        let command = command.find_subcommand_mut(name).unwrap();
        let help = command.render_long_help().to_string();
        assert!(help.contains("Exit codes: 0") && help.contains("Examples:"), "{help}");
    }
}

#[test]
fn the_servers_help_names_all_that_it_watches_and_serves() {
    let mut command = command();
    let command = command.find_subcommand_mut("webhook").unwrap();
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim).collect();
    for route in instar_webhooks::Route::all() {
        assert!(lines.contains(&route.path()), "{help}");
    }
    for watched in instar_webhooks::rbac::Watched::ALL {
        let rule = watched.rule();
        let resource = format!("{}.{}", rule.resource, rule.api_group);
        assert!(lines.contains(&resource.as_str()), "{help}");
    }
}

fn controller(line: &str) -> Result<crate::controller::ControllerArgs, clap::Error> {
    match parse(line)?.command {
        Command::Controller(args) => Ok(args),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_controller_looks_after_every_cluster_unless_it_is_told_which() {
    let args = controller("instar controller").unwrap();
    assert_eq!((args.namespace, args.watch_filter), (None, None));
    // As a manifest writes a value that was left empty.
    let args = controller("instar controller --namespace= --watch-filter=").unwrap();
    assert_eq!(
        (args.namespace, args.watch_filter),
        (Some(Namespaces::All), Some(WatchFilter::All))
    );
    let line = "instar controller --namespace team --watch-filter a --lease-namespace instar-system";
    let args = controller(line).unwrap();
    assert_eq!(args.namespace, Some(Namespaces::One("team".into())));
    assert_eq!(args.watch_filter, Some(WatchFilter::Label("a".into())));
    assert_eq!(args.lease_namespace.as_deref(), Some("instar-system"));
}

#[test]
fn a_filter_that_no_lease_can_be_named_for_is_refused_in_words() {
    let error = controller("instar controller --watch-filter Team_A").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ValueValidation);
    let text = error.to_string();
    assert!(text.contains("'Team_A' for '--watch-filter <VALUE>'"), "{text}");
    assert!(
        text.contains("named instar-controller-VALUE: use lower-case letters"),
        "{text}"
    );
}
