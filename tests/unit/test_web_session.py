"""The page's session: who comes back to a device shows a token that was spent there, and no other is kept."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

MODULE = Path(__file__).parents[2] / "web/js/session.js"
SCRIPT = """
const stored = (kept) => ({
  getItem: (key) => kept[key] ?? null,
  setItem: (key, value) => { kept[key] = value; },
  removeItem: (key) => { delete kept[key]; },
});
const kept = {};
globalThis.localStorage = stored(kept);
globalThis.sessionStorage = stored({});
const asked = [];
globalThis.fetch = async (path, { body }) => {
  asked.push(JSON.parse(body));
  const answer = { access_token: "a", refresh_token: `r${asked.length}`, expires_in_seconds: 1, user: {} };
  return { ok: true, status: path.endsWith("logout") ? 204 : 200, json: async () => answer };
};
const session = await import(process.argv[1]);
await session.login("ann", "horse");
await session.token();
await session.logout();
await session.login("ann", "horse", "123456");
console.log(JSON.stringify({ asked, kept: Object.values(kept) }));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node.js on this machine")
def test_the_next_login_shows_a_token_that_this_device_has_spent(tmp_path: Path) -> None:
    module = tmp_path / "session.mjs"
    module.write_text(MODULE.read_text())
    command = ["node", "--input-type=module", "-e", SCRIPT, str(module)]
    ran = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)
    ann = {"username": "ann", "password": "horse"}
    assert ran["asked"] == [
        ann,
        {"refresh_token": "r1"},
        {"refresh_token": "r2"},
        {**ann, "totp_code": "123456", "former_refresh_token": "r1"},
    ]
    assert ran["kept"] == ["r1"], "one that still opens something stays in its tab"
