//! The page in a real browser: Chromium, without a window. `make page` runs it and keeps the pictures.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use instar_api::{HealthLevel, UpgradePhase};
use instar_report::{
    Invocation, Report,
    html::{self, Forms, Fragment, Listed, View, Writes},
    text::FleetRow,
};
use jiff::Timestamp;
use serde_json::Value;

use crate::{many, now, objects, report};

/// Names under which distributions have it.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

const WIDTHS: [(&str, u32); 2] = [("narrow", 360), ("wide", 1280)];

/// As Chromium numbers what a user prefers.
const SCHEMES: [(&str, &str); 2] = [("light", "1"), ("dark", "0")];

/// What is wider than the window, what of the text can't be read well, and what has the focus without a frame around it.
const MEASURE: &str = r#"
const frame = document.querySelector("iframe");
frame.addEventListener("load", () => {
  const page = frame.contentDocument, view = frame.contentWindow, root = page.documentElement, problems = [];
  if (root.scrollWidth > root.clientWidth) {
    const wide = [...page.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > root.clientWidth + 1 && !e.closest(".unseen, thead"));
    problems.push(`wider than the window: ${root.scrollWidth} > ${root.clientWidth}: ` + wide.slice(0, 5).map((e) => e.outerHTML.slice(0, 120)).join(" | "));
  }
  const parse = (text) => { const n = text.match(/[\d.]+/g).map(Number); return n.length > 3 ? n : [...n, 1]; };
  const light = ([r, g, b]) => { const l = [r, g, b].map((c) => (c /= 255) <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4); return .2126 * l[0] + .7152 * l[1] + .0722 * l[2]; };
  const behind = (e) => { for (; e; e = e.parentElement) { const c = parse(view.getComputedStyle(e).backgroundColor); if (c[3] === 1) return c; } return [255, 255, 255, 1]; };
  const texts = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || e.closest("script, style, noscript, .unseen")) continue;
    const [front, back] = [light(parse(view.getComputedStyle(e).color)), light(behind(e))].sort((a, b) => b - a);
    const ratio = (front + .05) / (back + .05);
    const key = e.tagName + e.className;
    if (ratio < 4.5 && !seen.has(key)) { seen.add(key); problems.push(`contrast ${ratio.toFixed(2)}: ${e.outerHTML.slice(0, 120)}`); }
  }
  const result = document.createElement("pre");
  result.id = "result";
  result.textContent = JSON.stringify({ problems, height: root.scrollHeight, width: view.innerWidth });
  document.body.append(result);
});
"#;

/// The program, where there is one.
fn browser() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let candidates = NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.into_iter().find(|program| program.is_file())
}

/// The situations that somebody has to be able to read at a glance.
fn situations() -> Vec<(&'static str, Fragment)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let read = |name: &str| {
        let objects = objects(&root.join(name));
        (report(&objects), now(&objects))
    };
    let page = |(report, now): (Report, Timestamp)| {
        let machines = Listed::Some;
        html::of_cluster(&report, View::plain(now, machines))
    };
    let acting = |name: &str| {
        let (report, now) = read(name);
        let view = View {
            forms: Forms::With { secret: "s" },
            ..View::plain(now, Listed::Some)
        };
        html::of_cluster(&report, view)
    };
    vec![
        ("acting", acting("waits-for-approval")),
        ("acting-after", acting("taken-back")),
        ("going", page(read("topology-pool-held"))),
        ("workers", page(read("workers-go"))),
        ("approval", page(read("waits-for-approval"))),
        ("stalled", page(read("stalled-step"))),
        ("add-ons", page(read("add-ons-failed"))),
        ("completed", page(read("completed"))),
        ("back", page(read("workers-go-back"))),
        ("taken-back", page(read("taken-back"))),
        ("many", page(read(many::FOLDER))),
        ("fleet", fleet()),
    ]
}

fn fleet() -> Fragment {
    let phases = [
        UpgradePhase::Workers,
        UpgradePhase::Held,
        UpgradePhase::Completed,
        UpgradePhase::Failed,
        UpgradePhase::ControlPlane,
    ];
    let rows: Vec<FleetRow> = (0..40)
        .map(|number| {
            let phase = phases[number % phases.len()];
            let (level, reason, object) = match phase {
                UpgradePhase::Held => (Some(HealthLevel::Error), "PreflightFailed", "MachineDeployment/md-0"),
                UpgradePhase::Failed => (Some(HealthLevel::Error), "AddonTimedOut", "HelmRelease/cilium"),
                UpgradePhase::Workers => (
                    Some(HealthLevel::Info),
                    "PoolRollingOut",
                    "MachineDeployment/a-pool-with-a-long-name-0",
                ),
                _ => (None, "", ""),
            };
            FleetRow {
                namespace: "team-with-a-long-name".to_owned(),
                cluster: format!("cluster-in-a-far-away-region-{number}"),
                upgrade: format!("up-{number}"),
                target: "v1.35.4".to_owned(),
                phase: Some(phase),
                unreadable: String::new(),
                paused: number == 5,
                observed: number != 6,
                machines: format!("{number}/50"),
                level,
                reason: reason.to_owned(),
                object: object.to_owned(),
                began: Some(1_700_000_000 - i64::try_from(number).unwrap() * 4000),
            }
        })
        .collect();
    html::of_fleet(
        &rows,
        "All namespaces",
        Timestamp::from_second(1_700_000_900).unwrap(),
        Invocation::PLAIN,
    )
}

/// The page in a frame of a width: a window of Chromium has a least one.
fn framed(name: &str, fragment: &Fragment, width: u32, height: u64) -> String {
    let root = if name == "fleet" { "" } else { "../../" };
    let live = html::Live {
        root,
        events: "events",
        links: &[("As one file, for a ticket", "report.html"), ("As JSON", "report.json")],
        // Said of one of them.
        lost: if name == "going" {
            "Not readable since 2026-11-30 19:10:02 UTC: connection refused. What stands below is what was read before."
        } else {
            ""
        },
        now: Timestamp::UNIX_EPOCH,
        writes: if name.starts_with("acting") {
            Writes::Actions
        } else {
            Writes::Nothing
        },
    };
    let page = html::live(fragment, &live)
        .replace(
            &format!("<link rel=\"stylesheet\" href=\"{root}page.css\">"),
            &format!("<style>{}</style>", html::STYLE),
        )
        .replace(&format!("<script src=\"{root}page.js\" defer></script>"), "");
    let page = page.replace('&', "&amp;").replace('"', "&quot;");
    format!(
        "<!doctype html><meta charset=utf-8><meta name=color-scheme content='light dark'><style>body{{margin:0}}iframe{{border:0;display:block}}</style>\
         <iframe width={width} height={height} srcdoc=\"{page}\"></iframe><script>{MEASURE}</script>"
    )
}

fn run(browser: &Path, scheme: &str, profile: &Path, arguments: &[String]) -> String {
    let output = Command::new(browser)
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--virtual-time-budget=2000",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
#[ignore = "needs Chromium: make page"]
fn every_situation_can_be_read() {
    let browser = browser().expect("no Chromium in the PATH: on Debian, apt-get install chromium");
    let pictures = PathBuf::from(env::var_os("INSTAR_PICTURES").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into()));
    fs::create_dir_all(&pictures).unwrap();
    let profile = pictures.join("profile");
    let mut problems = Vec::new();
    for (name, fragment) in situations() {
        for (width_name, width) in WIDTHS {
            for (scheme_name, scheme) in SCHEMES {
                let file = pictures.join(format!("{name}-{width_name}-{scheme_name}"));
                let page = file.with_extension("page.html");
                let address = format!("file://{}", page.display());
                fs::write(&page, framed(name, &fragment, width, 900)).unwrap();
                let dom = run(&browser, scheme, &profile, &["--dump-dom".to_owned(), address.clone()]);
                let result = dom
                    .split_once("<pre id=\"result\">")
                    .unwrap_or_else(|| panic!("not measured: {dom}"))
                    .1;
                let result = result.split_once("</pre>").unwrap().0;
                let result = result.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
                let result: Value = serde_json::from_str(&result).unwrap();
                assert_eq!(result["width"], width, "{name}");
                let found = result["problems"].as_array().unwrap();
                problems.extend(found.iter().map(|problem| format!("{}: {problem}", file.display())));
                let height = result["height"].as_u64().unwrap();
                fs::write(&page, framed(name, &fragment, width, height)).unwrap();
                let picture = format!("--screenshot={}", file.with_extension("png").display());
                let size = format!("--window-size={},{height}", width.max(500));
                run(&browser, scheme, &profile, &[picture, size, address]);
                fs::remove_file(&page).unwrap();
            }
        }
    }
    fs::remove_dir_all(&profile).unwrap();
    println!("pictures: {}", pictures.display());
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// A page in which events come as we say. What is done to it is what a reader does.
const FOLLOW: &str = r##"
const problems = [];
const check = (what, holds) => { if (!holds) problems.push(what); };
const by = (id) => document.getElementById(id);
const machines = by("machines-heading").parentElement;
const details = document.querySelector("details"), summary = details.querySelector("summary");
details.open = true;
summary.focus();
getSelection().selectAllChildren(by("machines-heading"));
fire("fragment", { html: LATER, title: "later", spoken: "it goes", at: "1970-01-01T00:00:02Z", atText: "later" });
check("the fragment is not shown", document.querySelector("#verdict .lead").textContent === "It is done: every machine is up to date, and the cluster works.");
check("what was unfolded is folded", details.isConnected && details.open);
check("the focus is lost", document.activeElement === summary);
check("the selection is lost", getSelection().toString() === "Machines");
check("a section was made again", by("machines-heading").parentElement === machines);
check("the title stays", document.title === "later");
check("nothing is spoken", by("spoken").textContent === "it goes");
check("it isn't said to be up to date", by("link").textContent === "Up to date" && !by("link").classList.contains("lost"));
const html = by("main").innerHTML;
fire("fragment", { title: "later", spoken: "it goes", at: "1970-01-01T00:00:04Z", atText: "as it was" });
check("what is as it was has changed", by("main").innerHTML === html && by("read").textContent === "as it was");
fire("lost", { text: "<b>gone</b>" });
check("what is lost isn't said", by("link").textContent === "<b>gone</b>" && by("link").classList.contains("lost"));
check("what was read is gone", by("main").innerHTML === html);
fire("error", {});
check("a program that is gone isn't said", by("link").textContent.includes("has not answered since"));
fire("fragment", { html: FIRST, title: "first", spoken: "", at: "1970-01-01T00:00:06Z", atText: "first" });
check("it doesn't come back", !by("link").classList.contains("lost") && document.title === "first");
const fresh = document.createElement("main");
fresh.innerHTML = FIRST;
for (const folded of document.querySelectorAll("details")) folded.open = false;
check("the page isn't the fragment", by("main").innerHTML === fresh.innerHTML);
const result = document.createElement("pre");
result.id = "result";
result.textContent = JSON.stringify(problems);
document.body.append(result);
"##;

/// As the browser's own source of events, but for where they come from.
const EVENTS: &str = r"
const listeners = {};
window.EventSource = class {
  static CLOSED = 2;
  readyState = 0;
  addEventListener(name, listener) { listeners[name] = listener; }
};
const fire = (name, data) => listeners[name]({ data: JSON.stringify(data) });
";

#[test]
#[ignore = "needs Chromium: make page"]
fn what_a_reader_has_done_stays_when_the_page_changes() {
    let browser = browser().expect("no Chromium in the PATH: on Debian, apt-get install chromium");
    let all = situations();
    let find = |name: &str| all.iter().find(|(found, _)| *found == name).unwrap().1.clone();
    let (first, later) = (find("workers"), find("completed"));
    let live = html::Live {
        root: "",
        events: "events",
        links: &[],
        lost: "",
        now: Timestamp::UNIX_EPOCH,
        writes: Writes::Nothing,
    };
    let text = |html: &str| serde_json::to_string(html).unwrap().replace('<', "\\u003c");
    let script = format!(
        "const FIRST = {}, LATER = {};{FOLLOW}",
        text(&first.html),
        text(&later.html)
    );
    let page = html::live(&first, &live)
        .replace("<script src=\"page.js\" defer></script>", "")
        .replace(
            "</body>",
            &format!(
                "<script>{EVENTS}</script><script>{}</script><script>{script}</script></body>",
                html::SCRIPT
            ),
        );
    let folder = own_folder();
    let file = folder.join("follow.html");
    fs::write(&file, page).unwrap();
    let address = format!("file://{}", file.display());
    let dom = run(
        &browser,
        "1",
        &folder.join("profile"),
        &["--dump-dom".to_owned(), address],
    );
    let result = dom
        .split_once("<pre id=\"result\">")
        .unwrap_or_else(|| panic!("not ended: {dom}"))
        .1;
    assert!(
        result.starts_with("[]</pre>"),
        "{}",
        result.split_once("</pre>").unwrap().0
    );
    fs::remove_dir_all(&folder).unwrap();
}

/// A folder of this run.
fn own_folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("page-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}
