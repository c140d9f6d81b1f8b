"""The privacy notice that people are shown before they consent, and its digest (ISO/IEC 29184).

A consent names the digest of the very text that was shown; a deployment that shows a notice of its
own puts it into its policy folder (docs/policy.md).
"""

from __future__ import annotations

from policies.digest import sha256_hex

NOTICE_VERSION = "5"

NOTICE = """\
FaceWarrant keeps an encrypted template of your face to check that only you are shown. With your
consent your face, or your body, may be shown in pictures, or in videos if you say so, made for the
purposes, audiences and territories you name, until the date you name, and never for what you bar.
Each one is marked as AI-made and can be traced. You can withdraw at any time, in one step and
without a reason; what was already released stays traceable and, when it is verified with our
records, will say that you withdrew. Withdrawing erases the template. You can see all that is kept
about you, and have the key of your data destroyed for good; the signed record of what you agreed to
is kept for its time, as evidence. You declare: I am 18 or older.
"""

NOTICE_SHA256 = sha256_hex(NOTICE.encode())
