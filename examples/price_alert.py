"""An alert when the price rises above a half per cent more than it is now; what fired so far; and it is removed again.

python examples/price_alert.py [http://127.0.0.1:8000 [API key]]
"""

import sys

from md_platform.client import MarketData

INSTRUMENT = "sandbox:BTC-USDT"


def main(*address: str) -> None:
    with MarketData(*address) as client:
        price = client.latest(INSTRUMENT)["price"].item()
        condition = {"kind": "price", "compare": "crosses", "value": round(price * 1.005, 2)}
        rule = client.add_alert("half a per cent up", condition, INSTRUMENT, severity="low", cooldown_s=60)
        print(f"{rule.name}: fires when the price crosses {condition['value']}")
        print("rules:", [each.name for each in client.alerts()])
        print(client.fired_alerts(rule).select("fired_at", "message"))
        client.remove_alert(rule)


if __name__ == "__main__":
    main(*sys.argv[1:])
