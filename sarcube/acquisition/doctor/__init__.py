"""What keeps scenes from coming, in plain words: this machine, its folders, the way to the archive, the archive.

`diagnose` asks everything; every check has little time, and one that breaks or hangs does not stop the next.
"""

from sarcube.acquisition.doctor.diagnosis import diagnose as diagnose
from sarcube.acquisition.doctor.diagnosis import examine as examine
from sarcube.acquisition.doctor.findings import Finding as Finding
