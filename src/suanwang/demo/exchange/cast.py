"""Who trades: three providers with a site each, five buyers. All of them are made up."""

from __future__ import annotations

from suanwang.demo.stage import Party

PROVIDER = ("provider", "consumer")
ZHENGZHOU = Party(
    "zz-centre", "Zhengzhou Centre (demo)", "sales", "zhao.min", "5000", kinds=PROVIDER
)
QINGYANG = Party("qy-centre", "Qingyang Centre (demo)", "sales", "qian.jun", "5000", kinds=PROVIDER)
HAMI = Party("hm-cloud", "Hami Cloud (demo)", "sales", "ha.li", "5000", kinds=PROVIDER)
PROVIDERS = (ZHENGZHOU, QINGYANG, HAMI)
OWNERS = {"zhengzhou": ZHENGZHOU.name, "qingyang": QINGYANG.name, "hami": HAMI.name}

UNIVERSITY = Party("songshan", "Songshan University (demo)", "physics", "li.hua", "500")
FIRM = Party("huanghe", "Huanghe Design Ltd (demo)", "turbines", "wang.wei", "500")
INSTITUTE = Party("luoyang", "Luoyang Institute (demo)", "genomes", "sun.fei", "500")
STUDIO = Party("kaifeng", "Kaifeng Animation (demo)", "frames", "zhou.lin", "500")
STARTUP = Party("xinyang", "Xinyang Models (demo)", "training", "wu.yan", "500")
BUYERS = (UNIVERSITY, FIRM, INSTITUTE, STUDIO, STARTUP)
PARTIES = (*BUYERS, *PROVIDERS)

PROFILES = {
    UNIVERSITY.name: {
        "name": "Songshan University",
        "uscc": "91350100M000100Y43",
        "region": "henan/zhengzhou",
        "kind": "university",
    },
    ZHENGZHOU.name: {
        "name": "Zhengzhou Centre",
        "uscc": "91350100M000100Y43",
        "region": "henan/zhengzhou",
        "kind": "institute",
        "facility": {"kind": "supercomputing"},
    },
}
"""What the programme asks of who applies and of his provider. The credit code is the worked
example of GB 32100-2015."""
PROGRAMME = "henan"
