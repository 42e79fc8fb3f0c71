"""What crane does for one reference, by our client for very many: digest and platforms, on one line each.

python -m tests.bench.digests CONCURRENCY < references
"""

from __future__ import annotations

import asyncio
import sys

from reconciler.model.observed import Absent
from reconciler.model.reference import TagRef
from reconciler.registry.client import Registry
from reconciler.registry.credentials import Credentials
from reconciler.registry.manifests import Index, parse


async def main(concurrency: int, refs: list[str]) -> None:
    """Prints them in the order in which they were given."""
    async with Registry(Credentials(), concurrency=concurrency, allow_private=True) as registry:

        async def line(ref: TagRef) -> str:
            found = await registry.manifest(ref.repository, ref.tag)
            assert not isinstance(found, Absent)
            content = parse(found)
            assert isinstance(content, Index)
            return f"{found.digest} {' '.join(map(str, content.platforms))}\n"

        lines = await asyncio.gather(*(line(TagRef.parse(ref)) for ref in refs))
    sys.stdout.write("".join(lines))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.stdin.read().split()))
