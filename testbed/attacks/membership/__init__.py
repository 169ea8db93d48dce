"""Membership attacks on federations: which records did clients use in training?"""
