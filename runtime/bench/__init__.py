"""`adcvsr bench`: how fast variants run here, with the conditions they were measured under."""
