"""Scheduling: one immutable snapshot in, one plan out. Pure; knows no database and no clock.

plan.plan(snapshot, now_ms, seed) -> Plan            one round
candidates.candidates(snapshot, demand, ...)         where could this run, best first
forecast.explain(snapshot, plan, group, now_ms)      why is it waiting, until when, what helps
"""
