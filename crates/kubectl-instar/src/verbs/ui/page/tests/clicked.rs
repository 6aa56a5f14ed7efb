//! A form, typed into and clicked in a real browser. `make page` runs it.

use std::{
    env,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use axum::{Router, response::Html, routing};
use serde_json::json;
use tokio::{net::TcpListener, sync::mpsc, time::timeout};

use super::{
    actions::{Writes, acting, upgrade, writes},
    *,
};

/// Time enough for a browser to start on a busy machine.
const DEADLINE: Duration = Duration::from_mins(2);

/// Names under which distributions have it.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// What a user does, by another page of the same origin: it may look into the windows that it opens.
const USER: &str = r#"<!doctype html><meta charset=utf-8><title>user</title><script>
const page = window.open("PAGE");
const until = (found) => new Promise((done) => {
  const look = () => {
    let what;
    try { what = page.document.readyState === "complete" && found(); } catch { what = null; }
    what ? done(what) : setTimeout(look, 50);
  };
  look();
});
(async () => {
  const form = await until(() => page.document.querySelector('form[action="prod/upgrade"]'));
  const input = form.querySelector('input[type="text"]'), button = form.querySelector("button");
  button.click();
  const empty = input.matches(":invalid") && page.location.href === "PAGE";
  input.value = "v1.99.9";
  button.click();
  await until(() => page.location.pathname.endsWith("/prod/upgrade"));
  const answer = page.document.querySelector("main").innerText;
  page.document.querySelector(".more-link a").click();
  await until(() => page.location.href === "PAGE");
  const back = page.document.querySelector("h1").innerText;
  await fetch("/told", { method: "POST", body: JSON.stringify({ empty, answer, back }) });
})();
</script>"#;

/// It ends with this value.
struct Browser(Child, PathBuf);

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = std::fs::remove_dir_all(&self.1);
    }
}

fn browser(address: &str) -> Browser {
    let path = env::var_os("PATH").unwrap();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let mut candidates = NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let program = candidates.find(|program| program.is_file());
    let program = program.expect("no Chromium in the PATH: on Debian, apt-get install chromium");
    let profile = env::temp_dir().join(format!("instar-page-{}", std::process::id()));
    let child = Command::new(program)
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-popup-blocking",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(address)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Browser(child, profile)
}

/// The form takes no empty target; with one, the browser sends what the guard asks of a form, and shows what was done.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium: make page"]
async fn a_form_is_filled_in_and_clicked() {
    let (served, asked) = acting(upgrade("Completed", &json!([])), Writes::Warned, MayWrite::Actions);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let root = format!("http://{}", listener.local_addr().unwrap());
    let page = format!("{root}/{}/c/team/prod", served.token.as_str());
    let user = USER.replace("PAGE", &page);
    let (tell, mut told) = mpsc::channel::<String>(1);
    let opener = [("cross-origin-opener-policy", "same-origin")];
    let both = Router::new()
        .route("/user", routing::get(async move || (opener, Html(user))))
        .route(
            "/told",
            routing::post(async move |body: String| tell.send(body).await.unwrap()),
        )
        .fallback_service(router(Arc::clone(&served)));
    let serving = tokio::spawn(async move { axum::serve(listener, both).await });

    let browser = browser(&format!("{root}/user"));
    let told = timeout(DEADLINE, told.recv()).await;
    drop(browser);
    serving.abort();
    let told = told.expect("the browser tells nothing").unwrap();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["empty"], true, "an empty target is sent: {told}");
    let answer = told["answer"].as_str().unwrap();
    for expected in [
        "Done",
        "created",
        "Warning",
        "[rule upgrade-target]",
        "kubectl instar upgrade prod -n team --context admin@prod --to v1.99.9",
    ] {
        assert!(answer.contains(expected), "{expected}: {answer}");
    }
    assert!(told["back"].as_str().unwrap().contains("team/prod"), "{told}");
    let written = writes(&asked);
    let [(method, _, created)] = &*written else {
        panic!("{written:?}");
    };
    assert_eq!(
        (method.as_str(), &created["spec"]["target"]),
        ("POST", &json!("v1.99.9"))
    );
}
