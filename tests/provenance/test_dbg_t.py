import cv2, pytest
from provenance.errors import VerificationError
def test_x(premiere, films, sequel, tmp_path):
    cinema,file,out=premiere
    film=films.project(file)
    def go(name, frames, **kw):
        p=films.develop(tmp_path/f"{name.replace(' ','')}.mp4", frames, **kw)
        try:
            r=cinema.verifier.verify(p); w=[l.words for l in r.evidence if l.subject in("watermark","fingerprint","likeness")]
            print(name, r.verdict, r.meaning, w)
        except VerificationError as e: print(name, e.code, e.message, [l.words for l in e.evidence if l.subject in("watermark","likeness")])
    for crf in (20,23,28,32,36,40): go(f"crf {crf}", film, options={"crf":str(crf)})
    for crf in (20,28,34): go(f"hevc {crf}", film, codec="libx265", options={"crf":str(crf),"x265-params":"log-level=none"})
    for s in (240,160): go(f"small {s}", [cv2.resize(f,(s,s),interpolation=cv2.INTER_AREA) for f in film])
    go("crop 10%", [f[16:-16,16:-16] for f in film])
    go("mirrored", [cv2.flip(f,1) for f in film])
    go("brighter", [cv2.convertScaleAbs(f,alpha=1.0,beta=20) for f in film])
    go("caption", [cv2.putText(f.copy(),"HELLO WORLD",(20,200),0,1.2,(255,255,255),3) for f in film])
    go("cut from middle", film[4:])
    assert 0
