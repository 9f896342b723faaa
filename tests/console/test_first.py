from appliance.lifecycle import State
from tests.console import seed
from appliance.records import Outcome, Mode

def test_smoke(database, signed_in):
    b = signed_in("operator-1")
    s = seed.judged(database)
    seed.logged(database, s.incident_id)
    r = b.get("/incidents"); assert r.status_code == 200; assert "grows by" in r.text
    r = b.get(f"/incidents/{s.incident_id}"); assert r.status_code == 200, r.text
    for p in ("/nodes", "/audit", "/status", "/account", "/alive"):
        assert b.get(p).status_code == 200, p
    assert b.get("/people").status_code == 403
    r = b.post(f"/incidents/{s.incident_id}/approve", {"shown_digest": s.digest, "comment":"ok"}, page=f"/incidents/{s.incident_id}")
    assert r.status_code == 303, r.text
    r = b.get(f"/incidents/{s.incident_id}")
    assert "Approved by" in r.text
    s2 = seed.judged(database, mode=Mode.DRY_RUN)
    seed.reported(database, s2, Outcome.DRY_RUN)
    r = b.get(f"/incidents/{s2.incident_id}"); assert r.status_code == 200
    assert "Nothing was executed" in r.text
    a = signed_in("admin-1")
    assert a.get("/people").status_code == 200
    r = a.post("/people/add", {"name":"x-1","role":"viewer"}, page="/people")
    assert r.status_code == 200 and "token=" in r.text
