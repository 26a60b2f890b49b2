# SPDX-License-Identifier: Apache-2.0
"""Versioned objects: what crosses RPC must not change without a new version."""

from oslo_versionedobjects import fixture

from karbor.objects import (
    base,
    checkpoint,
    operation_log,
    plan,
    restore,
    scheduled_operation,
    trigger,
    verification,
)

FINGERPRINTS = {
    'Checkpoint': '1.0-a0c985cc9750a29e5472a559bb3ae392',
    'OperationLog': '1.1-c7dfefa6160284a0d91f5ab21b2b4b5f',
    'Plan': '1.0-7560f23828f59da1455c89383a1702dc',
    'Restore': '1.0-fecbc0677a8df69880a5fb0336e68ee5',
    'ScheduledOperation': '1.0-89bc0b50e100a08b354f3b498d6a827f',
    'Trigger': '1.0-26bab480d423dff03c5ff8a8ae7eacac',
    'Verification': '1.0-a6f3e667c8145a99d8ca700e139adda0',
}


def test_a_changed_object_has_a_new_version():
    """When this fails, raise VERSION of the object that changed, and write its new fingerprint here."""
    checker = fixture.ObjectVersionChecker(base.registry.obj_classes())
    expected, actual = checker.test_hashes(FINGERPRINTS)
    assert actual == expected


def test_an_object_arrives_as_it_was_sent():
    sent = plan.Plan.new(name='p', parameters={'T': {'flag': True, 'n': 3}}, resources=[{'id': 'a', 'type': 'T'}])
    arrived = base.KarborObject.obj_from_primitive(sent.obj_to_primitive())
    assert isinstance(arrived, plan.Plan)
    assert arrived.parameters == {'T': {'flag': True, 'n': 3}}
    assert arrived.resources == sent.resources


def test_every_object_has_a_table_for_its_fields():
    for module_class in (
        checkpoint.Checkpoint,
        operation_log.OperationLog,
        restore.Restore,
        scheduled_operation.ScheduledOperation,
        trigger.Trigger,
        verification.Verification,
    ):
        assert set(module_class.fields) <= set(module_class.model.__table__.c.keys())
