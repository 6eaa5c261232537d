"""Node keys and nonces of a correspondent node (RFC 6275 §5.2.7)."""

from random import Random, SystemRandom

from mrouter.protocol.node_keys import MAX_NONCE_LIFETIME, MAX_TOKEN_LIFETIME, NodeKeys


def test_secret_stays_for_30_seconds():
    keys = NodeKeys(Random(1))
    first = keys.get_current(100.0)
    assert keys.get_current(129.9) is first
    fresh = keys.get_current(130.0)
    assert fresh.index == (first.index + 1) % 65536
    assert (fresh.key, fresh.nonce) != (first.key, first.nonce)


def test_key_and_nonce_have_20_and_8_octets():
    secret = NodeKeys(SystemRandom()).get_current(0.0)
    assert (len(secret.key), len(secret.nonce)) == (20, 8)


def test_nonce_is_known_while_a_token_may_be_used_and_not_after_its_lifetime():
    keys = NodeKeys(Random(1))
    index = keys.get_current(0.0).index
    last_token_made_at = 29.9
    assert keys.find(index, last_token_made_at + MAX_TOKEN_LIFETIME) is not None
    assert keys.find(index, MAX_NONCE_LIFETIME - 0.1) is not None
    assert keys.find(index, MAX_NONCE_LIFETIME) is None


def test_no_more_than_eight_secrets_are_kept():
    keys = NodeKeys(Random(1))
    for second in range(3000):
        keys.get_current(float(second))
    assert len(keys._secrets) == 8


def test_nonce_lifetime_counts_from_its_first_use():
    keys = NodeKeys(Random(1))
    keys.get_current(0.0)
    late = keys.get_current(1000.0)
    assert late.first_used_at == 1000.0


def test_unknown_index_is_not_found():
    keys = NodeKeys(Random(1))
    index = keys.get_current(0.0).index
    assert keys.find((index + 1) % 65536, 0.0) is None


def test_index_wraps_around():
    class Last(Random):
        def randrange(self, *bounds):
            return 65535

    keys = NodeKeys(Last(1))
    assert [keys.get_current(at).index for at in (0.0, 30.0)] == [65535, 0]


def test_secrets_do_not_show():
    secret = NodeKeys(Random(1)).get_current(0.0)
    assert repr(secret.key) not in repr(secret)
    assert repr(secret.nonce) not in repr(secret)
