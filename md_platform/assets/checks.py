"""checks"""
def check_specs(u,d): return []
