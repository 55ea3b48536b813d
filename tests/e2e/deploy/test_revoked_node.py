"""Enrolment and revocation, with Flower's own SuperLink behind the front."""

import json

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from client.enrolment import join
from server.up import conduct
from server.up.flower import Link, SuperLink, key_of
from server.up.front import Front
from server.up.invitations import enrolled, named
from shared.errors import ConfigError, EngineError, ProtocolError
from shared.invitation import read_invitation
from tests.support.command import command
from tests.support.running import fronts


def supernode(folder, node, address):
    """Flower's own client of a node, with its key, at an address."""
    private = load_ssh_private_key((node / "node.key").read_bytes(), None)
    public = load_ssh_public_key((node / "node.pub").read_bytes())
    told = [
        RuntimeVersionHttpInterceptor(component_name="SuperNode"),
        NodeAuthHttpInterceptor(private, public),
    ]
    return FleetHttpClient.from_server_address(
        address, False, folder.authority.read_bytes(), interceptors=told
    )


def pull(client, number):
    try:
        client.PullMessages(PullMessagesRequest(node=Node(node_id=number)))
    except httpx.HTTPStatusError as error:
        return error.response.status_code
    return 200


def test_an_enrolment_is_repeated_and_a_revoked_node_is_refused_by_both(tmp_path, monkeypatch):
    monkeypatch.setenv("STARLING_HOME", str(tmp_path / "home"))
    folder = fronts.begun(tmp_path / "server")
    (tmp_path / "s").mkdir(mode=0o700)
    files = [fronts.invited(folder, tmp_path / f"{name}.json") for name in ("ann", "ben")]
    nodes = [tmp_path / "ann", tmp_path / "ben"]
    registers = Link.register

    def lost(link, key):
        registers(link, key)
        raise EngineError("the SuperLink does not answer")

    with SuperLink(folder) as superlink:
        link = Link(superlink.address, folder.authority.read_bytes())
        with Front(folder, superlink.address, link):
            monkeypatch.setattr(Link, "register", lost)
            with pytest.raises(ConfigError, match="type the same again"):
                join(files[0], nodes[0], tmp_path / "s" / "s")
            monkeypatch.undo()
            monkeypatch.setenv("STARLING_HOME", str(tmp_path / "home"))
            join(files[0], nodes[0], tmp_path / "s" / "s")
            join(files[1], nodes[1], tmp_path / "s" / "s")
            by_name = {each.name: each for each in enrolled(folder.invitations)}
            ann, ben = (by_name[named(read_invitation(file).token)] for file in files)
            assert ann.node
            assert ben.node
            assert {node.number for node in link.nodes()} == {ann.node, ben.node}
            port = f"127.0.0.1:{folder.served.port}"
            clients = [supernode(folder, node, port) for node in nodes]
            for each, known in zip(clients, (ann, ben), strict=True):
                each.ActivateNode(
                    ActivateNodeRequest(public_key=known.key.encode(), heartbeat_interval=30)
                )
                assert pull(each, known.node) == 200
            conduct.write_atomically(
                folder.flower / conduct.STATE, json.dumps({"superlink": superlink.address})
            )
            told = command("server", "revoke", folder.path, ann.name, "--json")
            assert json.loads(told.out)["superlink_knows"] is True
            assert [pull(clients[0], ann.node), pull(clients[1], ben.node)] == [401, 200]
            with supernode(folder, nodes[0], superlink.address) as around:
                assert pull(around, ann.node) == 401
            told = {node.number: node for node in link.nodes()}
            assert not told[ann.node].registered
            assert told[ben.node].registered
            with pytest.raises(ProtocolError, match="not accepted"):
                link.register(key_of((nodes[0] / "node.pub").read_text()))
            (folder.flower / conduct.STATE).unlink()
            found = command("server", "revoke", folder.path, str(ben.node))
            assert "it is told when the server starts" in found.out
            assert pull(clients[1], ben.node) == 401  # the front knows
            for each in clients:
                each.close()
        link.unregister(conduct.revoked_keys(folder))
        assert not any(node.registered for node in link.nodes())
        link.close()
